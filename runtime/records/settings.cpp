#include "runtime/records/settings.h"

#include <fmt/format.h>

#include "models/model_spec.h"

namespace smp::runtime {

std::vector<std::pair<std::string, std::string>> settings_of(const Job& job, const partition::Plan& plan,
                                                             const std::string& ranks_are, int threads) {
    const partition::Degrees& degrees = plan.topology.degrees;
    const models::ModelSpec& model = *job.model.spec;
    const std::int64_t sequences = global_batch(job.training, job.parallel, degrees.rdp);
    const std::int64_t length = sequence_length(job.training, model.longest_sequence());
    std::string stages;
    for (const partition::Chunk& chunk : plan.chunks)
        stages += fmt::format("{}{}", stages.empty() ? "" : " + ", chunk.end_module - chunk.first_module);
    return {
        {"model", fmt::format("{}: {:.2f} M parameters", model.description(),
                              static_cast<double>(models::parameter_count(model)) / 1e6)},
        {"ranks", fmt::format("{} ({}): {} pipeline x {} tensor x {} data, placement {}, {} thread{} each",
                              degrees.world(), ranks_are, degrees.pp, degrees.tp, degrees.rdp,
                              partition::placement_letters(plan.topology), threads, threads == 1 ? "" : "s")},
        {"stages", fmt::format("{} modules", stages)},
        {"batch", fmt::format("{} sequences of {} tokens in {} microbatch{}, at most {} active", sequences, length,
                              plan.microbatches, plan.microbatches == 1 ? "" : "es", plan.active_microbatches)},
        {"numbers", partition::word_of(partition::precision_of(job.parallel))},
        {"steps", fmt::format("{} ({} tokens)", job.training.steps, job.training.steps * sequences * length)},
        {"plan", fmt::format("{:016x}", partition::hash_of(plan))},
    };
}

}  // namespace smp::runtime
