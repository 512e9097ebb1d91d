// A job so small that it trains in milliseconds, with tokens of its own.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "runtime/job/job.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/gpt2_job.h"

namespace smp::testing {

/// The tokens lie in `folder`, which must outlive the job.
inline runtime::Job small_training_job(const ScratchFolder& folder) {
    std::mt19937 random(7);
    std::vector<std::uint16_t> tokens(20000);
    for (auto& token : tokens) token = static_cast<std::uint16_t>(random() % 97);
    runtime::Job job;
    change_model(job, [&](auto& model) {
        model.n_layer = 4;
        model.n_head = 4;
        model.n_embd = 32;
        model.n_positions = 40;
        model.vocab_size = 97;
    });
    job.training.steps = 4;
    job.training.sequence_length = 40;
    job.training.global_batch_size = 24;
    job.training.learning_rate = 1e-2;
    job.parallel.microbatches = 4;
    job.data.train = folder.write_tokens("tokens.bin", tokens).string();
    job.data.format = runtime::DataFormat::nanogpt;
    return job;
}

}  // namespace smp::testing
