#include "partition/plan/plan.h"

#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "partition/job/flat_padding.h"
#include "partition/plan/lowering.h"
#include "partition/stages/chunk_costs.h"

namespace smp::partition {
namespace {

constexpr double kChainTicks = 1e9;
constexpr int kReceivesAhead = 2;             // one being used, one on its way
constexpr int kReceivesAheadForwardOnly = 4;  // no stash: boundary tensors are all that a forward-only program holds

/// `costs` of each chunk; `any` of them, where the order is the same for all.
ComputeOrders training_orders(const Plan& plan, const CostsOfChunks& costs, const CostsOfChunks& any) {
    const int stages = plan.topology.degrees.pp, m = plan.microbatches, active = plan.active_microbatches;
    const int per_stage = static_cast<int>(plan.chunks.size()) / stages;
    switch (plan.schedule) {
        case PipelineSchedule::simple: return simple_orders(stages, m);
        case PipelineSchedule::interleaved:
            return per_stage > 1 ? chunked_orders(stages, per_stage, m, active, any)
                                 : interleaved_orders(stages, m, active, any);
        case PipelineSchedule::zero_bubble: return zero_bubble_orders(stages, m, active, costs);
    }
    throw std::logic_error("plan: no such schedule");
}

}  // namespace

Plan make_plan(const ModuleGraph& graph, const ParallelOptions& options, const Degrees& degrees,
               int evaluation_microbatches, const CostsOfChunks& measured) {
    std::vector<Problem> problems = validate(options);
    if (problems.empty() &&
        (degrees.pp != options.pipeline_parallel_degree || degrees.tp != options.tensor_parallel_degree)) {
        throw std::logic_error("plan: degrees differ from those of the options");
    }
    if (!problems.empty()) throw ConfigError(std::move(problems));

    Plan plan{.topology = make_topology(degrees, options.placement_strategy),
              .chunks = assign_stages(graph, options),
              .microbatches = options.microbatches,
              .active_microbatches = active_microbatches(options),
              .schedule = options.pipeline,
              .evaluation_microbatches = evaluation_microbatches,
              .shard_optimizer_state = options.shard_optimizer_state && degrees.rdp > 1};
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
    if (plan.schedule == PipelineSchedule::zero_bubble) {
        for (const ChunkId c : costs.ids())
            plan.held_bytes.push_back(
                zero_bubble_bound(plan.chunks[c].stage, degrees.pp, plan.active_microbatches, costs[c]));
    }
    // The longer warm-up above K = stages leaves time for one more gradient on its way; so does draining all of them.
    const bool is_ample = plan.schedule == PipelineSchedule::simple || plan.active_microbatches > degrees.pp;
    const int receives_ahead = is_ample ? kReceivesAhead + 1 : kReceivesAhead;
    const std::int64_t multiple = flat_multiple(graph.precision, degrees.rdp);
    plan.training = lower(graph, plan.chunks, training_orders(plan, costs, measured), plan.microbatches,
                          {.training = true,
                           .receives_ahead = receives_ahead,
                           .gather_parameters = plan.shard_optimizer_state,
                           .loading_horizon = plan.loading_horizon,
                           .flat_multiple = multiple});
    const LoweringOptions forward_only{.training = false,
                                       .receives_ahead = kReceivesAheadForwardOnly,
                                       .gather_parameters = plan.shard_optimizer_state,
                                       .flat_multiple = multiple};
    const auto forwards = [&](int microbatches) {
        return lower(graph, plan.chunks, forward_only_orders(degrees.pp, microbatches, options.virtual_pipeline_degree),
                     microbatches, forward_only);
    };
    plan.evaluation = forwards(evaluation_microbatches);
    plan.sampling = forwards(1);
    return plan;
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
