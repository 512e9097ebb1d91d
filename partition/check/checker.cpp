#include "partition/check/checker.h"

#include <functional>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition {
namespace passes {

const Action& at(const Programs& programs, Place place) { return programs[place.stage].actions[place.position]; }

const Buffer& buffer_of(const Programs& programs, Place place, BufferId id) {
    return programs[place.stage].buffers[id];
}

std::string shown(const Programs& programs, Place place) {
    return fmt::format("stage {} action {} ({})", place.stage, place.position, name_of(at(programs, place)));
}

}  // namespace passes

std::vector<std::string> check(const Programs& programs, const Duty& duty) {
    auto findings = passes::check_form(programs);
    if (findings.empty()) findings = passes::check_compute(programs, duty);
    if (findings.empty()) findings = passes::check_update(programs, duty);
    if (findings.empty()) findings = passes::check_boundaries(programs, duty);
    if (findings.empty()) findings = passes::check_messages(programs);
    if (findings.empty()) findings = passes::check_end(programs);
    if (findings.empty()) findings = passes::check_buffers(programs);
    return findings;
}

std::vector<std::string> check(const Plan& plan, const ModuleGraph& graph) {
    auto findings = passes::check_graph(graph);
    if (findings.empty()) findings = check(plan);
    if (findings.empty()) findings = passes::check_model(plan, graph);
    return findings;
}

std::vector<std::string> check(const Plan& plan) {
    auto findings = passes::check_frame(plan);
    if (!findings.empty()) return findings;
    const int stages = plan.topology.degrees.pp;
    Duty training{.placement = placement_of(plan.chunks, stages),
                  .microbatches = plan.microbatches,
                  .training = true,
                  .gathers_parameters = plan.shard_optimizer_state,
                  .active_microbatches = plan.active_microbatches};
    training.loading_horizon = plan.loading_horizon;
    training.sections = plan.sections;
    training.boundaries = plan.evaluation_boundaries;
    for (const Chunk& chunk : plan.chunks) training.groups.push_back(static_cast<int>(chunk.groups.size()));
    for (const StageId r : first_ids<StageId>(facts_of(plan.schedule).holds_all ? 0 : stages)) {
        const int per_stage = static_cast<int>(training.placement.chunks_of(r).size());
        training.in_flight.push_back(
            per_stage > 1 ? chunked_limit(r, stages, per_stage, largest_chunked_group(stages, plan.microbatches))
                          : in_flight_limit(r, stages, plan.active_microbatches));
    }
    if (facts_of(plan.schedule).splits_backward) training.held_bytes = plan.held_bytes;
    Duty evaluation = training, sampling = training;
    evaluation.training = sampling.training = false;
    evaluation.microbatches = plan.evaluation_microbatches;
    sampling.microbatches = 1;

    const auto append = [&](const char* what, const Programs& programs, const Duty& duty) {
        for (const std::string& finding : check(programs, duty))
            findings.push_back(fmt::format("{}: {}", what, finding));
    };
    append("training", plan.training, training);
    append("evaluation", plan.evaluation, evaluation);
    append("sampling", plan.sampling, sampling);
    return findings;
}

}  // namespace smp::partition
