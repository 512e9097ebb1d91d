// A small job that trains the MLP.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "runtime/job/job.h"
#include "tests/families/mlp/mlp.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::testing {

constexpr std::int64_t kMlpLength = 12;

inline std::vector<std::uint16_t> mlp_tokens() {
    std::mt19937 random(7);
    std::vector<std::uint16_t> tokens(8000);
    for (auto& token : tokens) token = static_cast<std::uint16_t>(random() % 97);
    return tokens;
}

/// The tokens lie in `folder`, which must outlive the job.
inline runtime::Job mlp_job(const ScratchFolder& folder, const MlpOptions& options = {}) {
    runtime::Job job;
    job.model = mlp(options);
    job.training.steps = 4;
    job.training.sequence_length = kMlpLength;
    job.training.global_batch_size = 12;
    job.training.learning_rate = 1e-2;
    job.training.gradient_clip_norm = 0.3;
    job.training.evaluate_every = 2;
    job.training.evaluation_batches = 2;
    job.parallel.microbatches = 6;
    job.data.train = folder.write_tokens("tokens.bin", mlp_tokens()).string();
    job.data.format = runtime::DataFormat::nanogpt;
    job.data.order = runtime::DataOrder::sequential;
    job.data.validation_fraction = 0.2;
    return job;
}

}  // namespace smp::testing
