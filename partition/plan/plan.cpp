#include "partition/plan/plan.h"

#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

#include "partition/plan/lowering.h"
#include "partition/stages/chunk_costs.h"

namespace smp::partition {
namespace {

constexpr double kChainTicks = 1e9;
constexpr int kReceivesAhead = 2;             // one being used, one on its way
constexpr int kReceivesAheadForwardOnly = 4;  // no stash: boundary tensors are all that a forward-only program holds

/// `costs` of each chunk; `any` of them, where the order is the same for all.
ComputeOrders training_orders(const Plan& plan, std::span<const ComputationCosts> costs,
                              std::span<const ComputationCosts> any) {
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

/// FNV-1a over "name=value;" of every field in a fixed order, list lengths included.
class Hash {
  public:
    void add(std::string_view name, std::int64_t value) {
        char digits[24];
        const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
        text(name);
        text("=");
        text({digits, static_cast<std::size_t>(end - digits)});
        text(";");
    }
    template <typename Enum>
    requires std::is_enum_v<Enum>
    void add(std::string_view name, Enum value) { add(name, static_cast<std::int64_t>(value)); }
    template <typename Integer>
    void add(std::string_view name, const std::vector<Integer>& values) {
        add(name, static_cast<std::int64_t>(values.size()));
        for (const Integer value : values) add("", value);
    }
    void add(const Buffer& buffer) {
        add("kind", buffer.kind);
        add("microbatch", buffer.microbatch);
        add("chunk", buffer.chunk);
        add("group", buffer.group);
        add("shared", buffer.shared);
        add("bytes", buffer.bytes);
        add("module", buffer.module);
    }
    void add(const Action& action) {
        add("kind", action.kind);
        add("microbatch", action.microbatch);
        add("chunk", action.chunk);
        add("group", action.group);
        add("peer", action.peer);
        add("channel", action.channel);
        add("stream", action.stream);
        add("bytes", action.bytes);
        add("reads", action.reads);
        add("writes", action.writes);
        add("frees", action.frees);
        add("waits", action.waits);
        add("signals", action.signals);
    }
    void add(std::string_view name, const std::vector<RankProgram>& programs) {
        add(name, static_cast<std::int64_t>(programs.size()));
        for (const RankProgram& program : programs) {
            add("buffers", static_cast<std::int64_t>(program.buffers.size()));
            for (const Buffer& buffer : program.buffers) add(buffer);
            add("events", program.events);
            add("actions", static_cast<std::int64_t>(program.actions.size()));
            for (const Action& action : program.actions) add(action);
        }
    }
    std::uint64_t value() const { return state_; }

  private:
    void text(std::string_view bytes) {
        for (const char byte : bytes) state_ = (state_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3ULL;
    }

    std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

}  // namespace

Plan make_plan(const ModuleGraph& graph, const ParallelOptions& options, const Degrees& degrees,
               int evaluation_microbatches, std::span<const ComputationCosts> measured) {
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
    std::vector<ComputationCosts> costs = computation_costs(graph, plan.chunks);
    if (!measured.empty() && measured.size() != costs.size()) {
        throw std::logic_error(
            fmt::format("plan: measured costs of {} chunks, the job has {}", measured.size(), costs.size()));
    }
    for (std::size_t c = 0; c < measured.size(); ++c) {
        costs[c].forward = measured[c].forward;
        costs[c].backward_input = measured[c].backward_input;
        costs[c].backward_weight = measured[c].backward_weight;
    }
    for (int r = 0; plan.schedule == PipelineSchedule::zero_bubble && r < degrees.pp; ++r) {
        plan.held_bytes.push_back(
            zero_bubble_bound(r, degrees.pp, plan.active_microbatches, costs[static_cast<std::size_t>(r)]));
    }
    // The longer warm-up above K = stages leaves time for one more gradient on its way; so does draining all of them.
    const bool is_ample = plan.schedule == PipelineSchedule::simple || plan.active_microbatches > degrees.pp;
    const int receives_ahead = is_ample ? kReceivesAhead + 1 : kReceivesAhead;
    plan.training = lower(graph, plan.chunks, training_orders(plan, costs, measured), plan.microbatches,
                          {.training = true,
                           .receives_ahead = receives_ahead,
                           .gather_parameters = plan.shard_optimizer_state,
                           .loading_horizon = plan.loading_horizon});
    const LoweringOptions forward_only{.training = false,
                                       .receives_ahead = kReceivesAheadForwardOnly,
                                       .gather_parameters = plan.shard_optimizer_state};
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
    for (std::size_t g = 1; g < chunk.groups.size(); ++g) bytes += input_bytes(chunk.groups[g]);
    return bytes;
}

}  // namespace

std::vector<ComputationCosts> computation_costs(const ModuleGraph& graph, std::span<const Chunk> chunks) {
    double all_flops = 0;
    for (const Module& module : graph.modules) all_flops += module.forward_flops + module.backward_flops;
    const auto ticks = [&](double flops) {
        return all_flops > 0 ? std::llround(flops / all_flops * kChainTicks) : 0LL;
    };
    std::vector<ComputationCosts> costs;
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

std::uint64_t hash_of(const Plan& plan) {
    Hash hash;
    hash.add("pp", plan.topology.degrees.pp);
    hash.add("tp", plan.topology.degrees.tp);
    hash.add("rdp", plan.topology.degrees.rdp);
    for (const Axis axis : plan.topology.order) hash.add("axis", axis);
    hash.add("chunks", static_cast<std::int64_t>(plan.chunks.size()));
    for (const Chunk& chunk : plan.chunks) {
        hash.add("stage", chunk.stage);
        hash.add("first_module", chunk.first_module);
        hash.add("end_module", chunk.end_module);
        hash.add("groups", chunk.groups);
    }
    hash.add("microbatches", plan.microbatches);
    hash.add("loading_horizon", plan.loading_horizon);
    hash.add("active_microbatches", plan.active_microbatches);
    hash.add("schedule", plan.schedule);
    hash.add("evaluation_microbatches", plan.evaluation_microbatches);
    hash.add("shard_optimizer_state", std::int64_t{plan.shard_optimizer_state});
    hash.add("held_bytes", plan.held_bytes);
    hash.add("training", plan.training);
    hash.add("evaluation", plan.evaluation);
    hash.add("sampling", plan.sampling);
    return hash.value();
}

}  // namespace smp::partition
