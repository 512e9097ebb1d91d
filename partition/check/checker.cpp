#include "partition/check/checker.h"

#include <functional>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition {
namespace passes {

const Action& at(const std::vector<RankProgram>& programs, Place place) {
    return programs[static_cast<std::size_t>(place.stage)].actions[static_cast<std::size_t>(place.position)];
}

const Buffer& buffer_of(const std::vector<RankProgram>& programs, Place place, int id) {
    return programs[static_cast<std::size_t>(place.stage)].buffers[static_cast<std::size_t>(id)];
}

std::string shown(const std::vector<RankProgram>& programs, Place place) {
    return fmt::format("stage {} action {} ({})", place.stage, place.position, name_of(at(programs, place)));
}

}  // namespace passes

std::vector<std::string> check(const std::vector<RankProgram>& programs, const Duty& duty) {
    auto findings = passes::check_form(programs);
    if (findings.empty()) findings = passes::check_compute(programs, duty);
    if (findings.empty()) findings = passes::check_update(programs, duty);
    if (findings.empty()) findings = passes::check_messages(programs);
    if (findings.empty()) findings = passes::check_end(programs);
    if (findings.empty()) findings = passes::check_buffers(programs);
    return findings;
}

std::vector<std::string> check(const Plan& plan) {
    const int stages = plan.topology.degrees.pp;
    Duty training{.chunks = static_cast<int>(plan.chunks.size()),
                  .microbatches = plan.microbatches,
                  .training = true,
                  .gathers_parameters = plan.shard_optimizer_state,
                  .active_microbatches = plan.active_microbatches};
    training.loading_horizon = plan.loading_horizon;
    for (const Chunk& chunk : plan.chunks) training.groups.push_back(static_cast<int>(chunk.groups.size()));
    for (int r = 0; r < stages && plan.schedule != PipelineSchedule::simple; ++r) {
        const int per_stage = training.chunks / stages;
        training.in_flight.push_back(
            per_stage > 1 ? chunked_limit(r, stages, per_stage, largest_chunked_group(stages, plan.microbatches))
                          : in_flight_limit(r, stages, plan.active_microbatches));
    }
    if (plan.schedule == PipelineSchedule::zero_bubble) training.held_bytes = plan.held_bytes;
    Duty evaluation = training, sampling = training;
    evaluation.training = sampling.training = false;
    evaluation.microbatches = plan.evaluation_microbatches;
    sampling.microbatches = 1;

    std::vector<std::string> findings;
    const auto append = [&](const char* what, const std::vector<RankProgram>& programs, const Duty& duty) {
        if (static_cast<int>(programs.size()) != stages) {
            findings.push_back(fmt::format("{}: {} programs for {} stages", what, programs.size(), stages));
            return;
        }
        for (const std::string& finding : check(programs, duty))
            findings.push_back(fmt::format("{}: {}", what, finding));
    };
    append("training", plan.training, training);
    append("evaluation", plan.evaluation, evaluation);
    append("sampling", plan.sampling, sampling);
    return findings;
}

}  // namespace smp::partition
