#include "partition/plan/plan.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "partition/plan/library_sums.h"
#include "partition/plan/lowering.h"
#include "partition/stages/chunk_costs.h"

namespace smp::partition {
namespace {

constexpr double kChainTicks = 1e9;
constexpr int kReceivesAhead = 2;             // one being used, one on its way
constexpr int kReceivesAheadForwardOnly = 4;  // no stash: boundary tensors are all that such a program holds

/// Those ahead and the one that is used; with chunks as many microbatches as stages go through one before they come to
/// the next.
int forward_only_boundaries(int stages, int chunks_per_stage) {
    return 1 + (chunks_per_stage > 1 ? std::max(kReceivesAheadForwardOnly, stages) : kReceivesAheadForwardOnly);
}

/// `of_sums`: how sums of gradients reach the ranks' tensors.
Plan planned(const ModuleGraph& graph, const ParallelOptions& options, const Degrees& degrees,
             int evaluation_microbatches, const CostsOfChunks& measured, Transport transport, Transport of_sums) {
    std::vector<Problem> problems = validate(options);
    if (problems.empty() &&
        (degrees.pp != options.pipeline_parallel_degree || degrees.tp != options.tensor_parallel_degree)) {
        throw std::logic_error("plan: degrees differ from those of the options");
    }
    if (!problems.empty()) throw ConfigError(std::move(problems));

    Plan plan{.topology = make_topology(degrees, options.placement_strategy),
              .transport = transport,
              .chunks = assign_stages(graph, options),
              .microbatches = options.microbatches,
              .active_microbatches = active_microbatches(options),
              .schedule = options.pipeline,
              .evaluation_microbatches = evaluation_microbatches,
              .shard_optimizer_state = options.shard_optimizer_state && degrees.rdp > 1,
              .evaluation_boundaries = forward_only_boundaries(degrees.pp, options.virtual_pipeline_degree)};
    plan.sections = flat_sections(graph, plan.chunks, degrees.rdp);
    const bool is_checkpointed = checkpointed_layers(options) > 0;
    if (options.offload_activations && is_checkpointed) plan.loading_horizon = options.activation_loading_horizon;
    CostsOfChunks costs = computation_costs(graph, plan.chunks);
    if (!measured.empty() && measured.size() != costs.size()) {
        throw std::logic_error(
            fmt::format("plan: measured costs of {} chunks, the job has {}", measured.size(), costs.size()));
    }
    for (const ChunkId c : measured.ids()) {
        costs[c].forward = measured[c].forward;
        costs[c].backward_input = measured[c].backward_input;
        costs[c].backward_weight = measured[c].backward_weight;
    }
    if (facts_of(plan.schedule).splits_backward) {
        for (const ChunkId c : costs.ids())
            plan.held_bytes.push_back(
                zero_bubble_bound(plan.chunks[c].stage, degrees.pp, plan.active_microbatches, costs[c]));
    }
    // The longer warm-up above K = stages leaves time for one more gradient on its way; so does draining all of them.
    const bool is_ample = facts_of(plan.schedule).holds_all || plan.active_microbatches > degrees.pp;
    const int receives_ahead = is_ample ? kReceivesAhead + 1 : kReceivesAhead;
    const LoweringOptions both{.tensor_ranks = degrees.tp,
                               .replicas = degrees.rdp,
                               .transport = of_sums,
                               .sharded = plan.shard_optimizer_state};
    LoweringOptions forward_and_backward = both, forward_only = both;
    forward_and_backward.receives_ahead = receives_ahead;
    forward_and_backward.loading_horizon = plan.loading_horizon;
    forward_only.training = false;
    forward_only.receives_ahead = kReceivesAheadForwardOnly;
    const ScheduledJob order{.stages = degrees.pp,
                             .chunks_per_stage = static_cast<int>(plan.chunks.size()) / degrees.pp,
                             .microbatches = plan.microbatches,
                             .active_microbatches = plan.active_microbatches};
    plan.training = lower(graph, plan.chunks, plan.sections, training_orders(plan.schedule, order, costs, measured),
                          plan.microbatches, forward_and_backward);
    const auto forwards = [&](int microbatches) {
        return lower(graph, plan.chunks, plan.sections,
                     forward_only_orders(degrees.pp, microbatches, options.virtual_pipeline_degree), microbatches,
                     forward_only);
    };
    plan.evaluation = forwards(evaluation_microbatches);
    plan.sampling = forwards(1);
    return plan;
}

}  // namespace

Plan make_plan(const ModuleGraph& graph, const ParallelOptions& options, const Degrees& degrees,
               int evaluation_microbatches, const CostsOfChunks& measured, Transport transport) {
    return planned(graph, options, degrees, evaluation_microbatches, measured, transport, transport);
}

Plan make_plan_for_library_sums(const ModuleGraph& graph, const ParallelOptions& options, const Degrees& degrees,
                                int evaluation_microbatches, const CostsOfChunks& measured) {
    // As little as where a rank adds what lies in the others' tensors.
    return planned(graph, options, degrees, evaluation_microbatches, measured, Transport::messages,
                   Transport::shared_memory);
}

bool has_reduction_scratch(const Plan& plan) {
    return std::ranges::any_of(plan.training, [](const RankProgram& program) {
        return std::ranges::any_of(program.actions, [](const Action& action) {
            return action.kind == ActionKind::reduce_gradients && !action.scratch.empty();
        });
    });
}

namespace {

/// What a chunk keeps of a microbatch between its forward and its backward, its own input included.
std::int64_t held_bytes(const ModuleGraph& graph, const Chunk& chunk) {
    const auto input_bytes = [&](int module) {
        return module == 0 ? 0 : graph.modules[static_cast<std::size_t>(module - 1)].output_bytes;
    };
    std::int64_t bytes = input_bytes(chunk.first_module);
    if (chunk.groups.empty()) return bytes + kept_bytes(graph, chunk.first_module, chunk.end_module);
    for (const int first : chunk.groups) bytes += first == chunk.first_module ? 0 : input_bytes(first);
    return bytes;
}

}  // namespace

CostsOfChunks computation_costs(const ModuleGraph& graph, const Chunks& chunks) {
    double all_flops = 0;
    for (const Module& module : graph.modules) all_flops += module.forward_flops + module.backward_flops;
    const auto ticks = [&](double flops) {
        return all_flops > 0 ? std::llround(flops / all_flops * kChainTicks) : 0LL;
    };
    CostsOfChunks costs;
    for (const Chunk& chunk : chunks) {
        const ChunkCosts of_chunk = costs_of(graph, chunk);
        const double again = chunk.groups.empty() ? 0 : of_chunk.forward_flops;
        costs.push_back({.forward = ticks(of_chunk.forward_flops),
                         .backward_input = ticks(again + of_chunk.input_flops()),
                         .backward_weight = ticks(of_chunk.weight_flops),
                         .stash_bytes = held_bytes(graph, chunk),
                         .deferred_bytes = of_chunk.deferred_bytes});
    }
    return costs;
}

}  // namespace smp::partition
