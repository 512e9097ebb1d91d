#include "partition/foresight/durations.h"

#include <cmath>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

#include "partition/foresight/node_borders.h"
#include "partition/plan/edges.h"
#include "partition/stages/chunk_costs.h"

namespace smp::partition {
namespace {

constexpr double kTicksPerSecond = 1e9;

/// What the optimizer moves of a parameter: see the header.
std::int64_t moved_bytes(Precision precision) {
    const std::int64_t values = precision == Precision::fp32 ? 2 * value_bytes(precision) : value_bytes(precision);
    return kGradientBytes + 2 * optimizer_bytes(precision) + values;
}

std::int64_t ticks(double amount, double per_second) { return std::llround(amount / per_second * kTicksPerSecond); }

void require_usable(const Rates& rates) {
    for (const double rate :
         {rates.flops_per_second, rates.between_nodes.bytes_per_second, rates.inside_node.bytes_per_second,
          rates.copy_bytes_per_second, rates.memory_bytes_per_second}) {
        if (!(std::isfinite(rate) && rate > 0))
            throw std::logic_error(fmt::format("durations: a rate of {}; each is above 0", rate));
    }
    for (const double latency : {rates.between_nodes.latency_seconds, rates.inside_node.latency_seconds}) {
        if (!(std::isfinite(latency) && latency >= 0))
            throw std::logic_error(fmt::format("durations: a latency of {} s; it is at least 0", latency));
    }
}

class Pricing {
  public:
    Pricing(const Plan& plan, const Programs& programs, const ModuleGraph& graph, const Rates& rates,
            int ranks_per_node)
        : rates_(rates),
          borders_(plan.topology, consecutive_nodes(plan.topology.degrees.world(), ranks_per_node)),
          data_ranks_(plan.topology.degrees.rdp),
          sharded_(plan.shard_optimizer_state),
          moved_bytes_(static_cast<double>(moved_bytes(graph.precision))),
          parameters_of_stage_(plan.training.size()) {
        for (const Edge& edge : edges_of({&programs}))
            if (borders_.lie_between(edge.from, edge.to)) far_edges_.insert(edge);
        for (const Chunk& chunk : plan.chunks) {
            chunks_.push_back(costs_of(graph, chunk));
            parameters_of_stage_[chunk.stage] += static_cast<double>(chunks_.back().parameter_count);
            auto& groups = groups_.emplace_back();
            for (const GroupId g : chunk.groups.ids())
                groups.push_back(costs_of(graph, chunk.groups[g], chunk.group_end(g)));
        }
    }

    ActionDuration of(const RankProgram& program, StageId stage, const Action& action) const {
        switch (action.kind) {
            case ActionKind::forward:
            case ActionKind::recompute: return compute(stage, action, part(action).forward_flops);
            case ActionKind::backward: return compute(stage, action, part(action).backward_flops);
            case ActionKind::backward_input: return compute(stage, action, part(action).input_flops());
            case ActionKind::backward_weight: return compute(stage, action, part(action).weight_flops);
            case ActionKind::sum_row_gradients: return compute(stage, action, 0);
            case ActionKind::send: {
                const Link& link = link_of(far_edges_.contains(edge_of(stage, action)));
                return {ticks(static_cast<double>(action.bytes), link.bytes_per_second), hop(link)};
            }
            case ActionKind::offload:
            case ActionKind::prefetch:
                return {.duration = ticks(static_cast<double>(action.bytes), rates_.copy_bytes_per_second)};
            case ActionKind::reduce_gradients: return over_data_group(stage, action, sharded_ ? 1 : 2);
            case ActionKind::gather_parameters: return over_data_group(stage, action, 1);
            case ActionKind::sum_tied_gradients: return memory(sum_bytes(program, action));
            case ActionKind::optimizer_step:
                return memory(moved_bytes_ * parameters_of_stage_[stage] / (sharded_ ? data_ranks_ : 1));
            case ActionKind::receive:
            case ActionKind::join: return {};
        }
        throw std::logic_error(fmt::format("durations: no rule for {}", name_of(action)));
    }

  private:
    const ChunkCosts& part(const Action& action) const {
        return action.group == kNone ? chunks_[action.chunk] : groups_[action.chunk].at(action.group);
    }
    const Link& link_of(bool between_nodes) const { return between_nodes ? rates_.between_nodes : rates_.inside_node; }
    static std::int64_t hop(const Link& link) { return ticks(link.latency_seconds, 1); }
    ActionDuration compute(StageId stage, const Action& action, double flops) const {
        std::int64_t exchange = 0;
        if (action.tensor.rounds > 0) {
            const Link& link = link_of(borders_.cut(Axis::tensor, stage));
            exchange = action.tensor.rounds * hop(link) +
                       ticks(static_cast<double>(action.tensor.bytes), link.bytes_per_second);
        }
        return {.duration = ticks(flops, rates_.flops_per_second) + exchange, .exchange = exchange};
    }
    ActionDuration memory(double bytes) const { return {.duration = ticks(bytes, rates_.memory_bytes_per_second)}; }
    /// Reduce-scatters and gathers: each takes all but the own piece out of and into a rank.
    ActionDuration over_data_group(StageId stage, const Action& action, int passes) const {
        if (data_ranks_ == 1) return {};
        const Link& link = link_of(borders_.cut(Axis::data, stage));
        const double share = (data_ranks_ - 1) / static_cast<double>(data_ranks_);
        return {ticks(passes * share * static_cast<double>(action.bytes), link.bytes_per_second), passes * hop(link)};
    }
    /// Every copy is read once, their sum is written once.
    static double sum_bytes(const RankProgram& program, const Action& action) {
        double bytes = 0, of_one = 0;
        for (const BufferId id : action.reads) {
            const Buffer& buffer = program.buffers[id];
            if (buffer.kind != BufferKind::tied_gradient && buffer.kind != BufferKind::tied_received) continue;
            of_one = static_cast<double>(buffer.bytes);
            bytes += of_one;
        }
        return bytes + of_one;
    }

    Rates rates_;
    NodeBorders borders_;
    std::set<Edge> far_edges_;  // those between nodes
    int data_ranks_;
    bool sharded_;
    double moved_bytes_;
    Table<ChunkId, ChunkCosts> chunks_;
    Table<ChunkId, Table<GroupId, ChunkCosts>> groups_;
    Table<StageId, double> parameters_of_stage_;
};

}  // namespace

Durations modelled_durations(const Plan& plan, const Programs& programs, const ModuleGraph& graph, const Rates& rates,
                             int ranks_per_node) {
    require_usable(rates);
    const Pricing pricing(plan, programs, graph, rates, ranks_per_node);
    Durations durations(programs.size());
    for (const StageId stage : programs.ids()) {
        durations[stage].reserve(programs[stage].actions.size());
        for (const Action& action : programs[stage].actions)
            durations[stage].push_back(pricing.of(programs[stage], stage, action));
    }
    return durations;
}

}  // namespace smp::partition
