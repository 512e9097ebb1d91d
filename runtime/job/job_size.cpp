#include "runtime/job/job_size.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/model_spec.h"

namespace smp::runtime {
namespace {

// Each leaves all later products, with at most some tens of bytes or operations an element, inside 63 bits.
constexpr double kMostParameters = 1e15;
constexpr double kMostMicrobatchFlops = 1e18;
constexpr double kMostStashBytes = 1e17;            // of all microbatches of a replica
constexpr std::int64_t kMostSequences = 1LL << 31;  // a step, over all replicas
constexpr double kMostTokens = 4e18;                // of all steps
// A second or two, and some hundreds of megabytes.
constexpr double kMostActions = 1e6;
constexpr double kMostCuts = 1e6;  // chunks times layers: the search for stages

struct Sizes {
    double parameters = 0;
    double roots = 0;  // of the modules' parameters: each is a few times as wide as its widest tensor but a vocabulary
};

Sizes sizes_of(const models::ModelSpec& model) {
    Sizes sizes;
    for (int module = 0; module < model.module_count(); ++module) {
        double all = 0;
        for (const models::Parameter& parameter : model.parameters(module, 1, 0)) {
            if (!parameter.tied_to.empty()) continue;
            all += std::accumulate(
                parameter.global_shape.begin(), parameter.global_shape.end(), 1.0,
                [](double product, std::int64_t extent) { return product * static_cast<double>(extent); });
        }
        sizes.parameters += all;
        sizes.roots += std::sqrt(all);
    }
    return sizes;
}

/// Forward, backward and one recomputation; attention too, whose width is some part of the root.
double flops_of_token(const Sizes& sizes, double length) { return 8 * sizes.parameters + 16 * sizes.roots * length; }

double stash_bytes_of_token(const Sizes& sizes, std::int64_t vocabulary) {
    return 50 * sizes.roots + 8 * static_cast<double>(vocabulary);
}

}  // namespace

void check_size(const Job& job, partition::OptionChecks& checks) {
    const auto& parallel = job.parallel;
    const models::ModelSpec& model = *job.model.spec;
    const int modules = model.module_count();
    if (const double count = sizes_of(model).parameters; count > kMostParameters) {
        checks.conflict("model", model.description(),
                        fmt::format("has {:.2g} parameters; at most {:.0e} can be planned", count, kMostParameters),
                        "choose a smaller model");
    }
    const double chunks = partition::chunk_count(parallel);
    if (const double cuts = chunks * static_cast<double>(modules); cuts > kMostCuts) {
        checks.conflict("parallel.pipeline_parallel_degree", parallel.pipeline_parallel_degree,
                        fmt::format("{} chunks times {} modules are {:.2g}; at most {:.0e} can be cut into stages",
                                    partition::chunk_count(parallel), modules, cuts, kMostCuts),
                        "use fewer stages");
    }
    const int together = partition::checkpointed_layers(parallel);
    const double groups =
        together == 0 ? 0 : std::max(chunks, static_cast<double>(modules) / static_cast<double>(together));
    // Forward, backward, and a send and a receive each; a group has recomputation and copies besides.
    const double actions = parallel.microbatches * (6 * chunks + (parallel.offload_activations ? 5 : 3) * groups);
    if (actions > kMostActions) {
        checks.conflict(
            "parallel.microbatches", parallel.microbatches,
            fmt::format("with {} chunks of the model makes a plan of about {:.2g} actions; at most {:.0e} can "
                        "be proven in reasonable time",
                        partition::chunk_count(parallel), actions, kMostActions),
            "use fewer microbatches, fewer chunks, or larger groups of activation_checkpointing");
    }
}

void check_size_on(const Job& job, int rdp, partition::OptionChecks& checks) {
    const std::int64_t sequences = global_batch(job.training, job.parallel, rdp);
    if (sequences > kMostSequences) {
        checks.conflict("training.batch_size", job.training.batch_size,
                        fmt::format("makes {} sequences a step; at most {} are possible", sequences, kMostSequences),
                        "lower it");
        return;
    }
    const auto length = static_cast<double>(sequence_length(job.training, job.model.spec->longest_sequence()));
    const double tokens = static_cast<double>(sequences) / rdp * length;  // of a replica, in a step
    const Sizes sizes = sizes_of(*job.model.spec);
    const double flops = tokens / job.parallel.microbatches * flops_of_token(sizes, length);
    const double bytes = tokens * stash_bytes_of_token(sizes, job.model.spec->vocabulary());
    if (flops > kMostMicrobatchFlops || bytes > kMostStashBytes) {
        checks.conflict(
            "parallel.microbatches", job.parallel.microbatches,
            fmt::format("{:.2g} tokens a step on each replica take {:.2g} FLOPs a microbatch and {:.2g} bytes "
                        "of activations; at most {:.0e} and {:.0e} can be planned",
                        tokens, flops, bytes, kMostMicrobatchFlops, kMostStashBytes),
            "use a smaller batch, or more microbatches");
    }
    const double all = static_cast<double>(job.training.steps) * static_cast<double>(sequences) * length;
    if (all > kMostTokens) {
        checks.conflict("training.steps", job.training.steps,
                        fmt::format("makes {:.2g} tokens; at most {:.0e} can be counted", all, kMostTokens),
                        "lower it");
    }
}

}  // namespace smp::runtime
