#include "partition/foresight/warnings.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "partition/foresight/node_borders.h"
#include "partition/stages/chunk_costs.h"

namespace smp::partition {
namespace {

constexpr double kTolerableImbalance = 0.05;

void warn_of_nodes(const Topology& topology, const std::vector<int>& nodes, std::vector<std::string>& warnings) {
    const Degrees& degrees = topology.degrees;
    const NodeBorders borders(topology, nodes);
    if (degrees.tp == 1 || !borders.cut(Axis::tensor)) return;
    const int ranks_per_node = borders.largest_node();
    const int common = std::gcd(degrees.tp, ranks_per_node);
    const auto fits = [&](const Topology& other) {
        return !NodeBorders(other, consecutive_nodes(degrees.world(), ranks_per_node)).cut(Axis::tensor);
    };
    const std::string remedy =
        common != degrees.tp
            ? fmt::format(
                  "lower parallel.tensor_parallel_degree to {} (with placement \"cluster\"), or use nodes "
                  "whose ranks are a multiple of {}",
                  common, degrees.tp)
        : fits(topology) ? std::string("start consecutive ranks on one host (mpirun --map-by slot)")
                         : std::string("set parallel.placement_strategy = \"cluster\"");
    warnings.push_back(fmt::format(
        "tensor parallelism leaves the node: with placement {} and {} rank{} a node the {} shards of a layer lie on "
        "several nodes, and every layer waits for the network between them four times a microbatch; {}",
        placement_letters(topology), ranks_per_node, ranks_per_node == 1 ? "" : "s", degrees.tp, remedy));
}

/// Pipeline and data degrees may be anything: nothing else has to divide by them but batches, which is a rule.
void warn_of_odd_tensor_degree(int degree, const std::function<bool(int)>& is_possible,
                               std::vector<std::string>& warnings) {
    const auto value = static_cast<unsigned>(degree);
    if (std::has_single_bit(value)) return;
    std::vector<unsigned> better;
    for (const unsigned power : {std::bit_floor(value), std::bit_ceil(value)})
        if (power > 1 && (!is_possible || is_possible(static_cast<int>(power)))) better.push_back(power);
    if (better.empty()) return;  // the model leaves no choice
    warnings.push_back(fmt::format(
        "parallel.tensor_parallel_degree = {} is no power of two, as the ranks of a node and the sizes that "
        "matrix products like are; set it to {}",
        degree, fmt::join(better, " or ")));
}

void warn_of_idle_stages(const Plan& plan, std::vector<std::string>& warnings) {
    const int stages = plan.topology.degrees.pp, microbatches = plan.microbatches, active = plan.active_microbatches;
    const int chunks_per_stage = static_cast<int>(plan.chunks.size()) / stages;
    // Where the backward is split, weight parts fill some of the time, how much depends on their costs.
    const bool is_split = facts_of(plan.schedule).splits_backward;
    if (microbatches < stages) {
        const double bubble = static_cast<double>(stages - 1) / microbatches / chunks_per_stage;
        warnings.push_back(fmt::format(
            "{} microbatch{} cannot keep {} stages busy{}; raise parallel.microbatches to {} or more, better to "
            "several "
            "times the stages",
            microbatches, microbatches == 1 ? "" : "es", stages,
            is_split ? "" : fmt::format(": the bubble is about {:.0f} % on top of the work", 1e2 * bubble), stages));
    }
    if (active < std::min(stages, microbatches)) {
        const double bubble = static_cast<double>(stages) / active - 1;
        warnings.push_back(fmt::format(
            "parallel.active_microbatches = {} cannot keep {} stages busy{}; set it to {} or more if memory allows, or "
            "use fewer stages",
            active, stages,
            is_split ? "" : fmt::format(": at least p/K - 1 = {:.0f} % on top of the work is bubble", 1e2 * bubble),
            std::min(stages, microbatches)));
    }
}

void warn_of_useless_offloading(const Plan& plan, const ParallelOptions& options, std::vector<std::string>& warnings) {
    if (!options.offload_activations) return;
    if (plan.loading_horizon == 0) {
        warnings.push_back(fmt::format(
            "parallel.offload_activations has no effect with activation_checkpointing = \"{}\": only inputs of "
            "checkpointed groups travel; set that to \"each\", \"contiguous\" or \"group_N\"",
            options.activation_checkpointing));
        return;
    }
    const bool nothing_leaves = std::ranges::none_of(plan.training, [](const RankProgram& program) {
        return std::ranges::any_of(program.actions, [](const Action& a) { return a.kind == ActionKind::offload; });
    });
    if (nothing_leaves)
        warnings.push_back(fmt::format(
            "parallel.offload_activations has no effect: with activation_loading_horizon = {} every checkpointed input "
            "is within reach of its backward when it is made; lower the horizon",
            plan.loading_horizon));
}

/// The same job cut for even compute alone.
double least_imbalance(const Plan& plan, const ModuleGraph& graph) {
    const int stages = plan.topology.degrees.pp;
    ParallelOptions even;
    even.pipeline_parallel_degree = stages;
    even.microbatches = plan.microbatches;
    even.active_microbatches = plan.active_microbatches;
    even.pipeline = plan.schedule;
    even.virtual_pipeline_degree = static_cast<int>(plan.chunks.size()) / stages;
    even.memory_weight = 0;
    return imbalance(stage_flops(graph, assign_stages(graph, even), stages));
}

void warn_of_uneven_stages(const Plan& plan, const ModuleGraph& graph, std::vector<std::string>& warnings) {
    const auto flops = stage_flops(graph, plan.chunks, plan.topology.degrees.pp);
    const double uneven = imbalance(flops);
    if (uneven <= kTolerableImbalance) return;
    const double least = least_imbalance(plan, graph);
    const auto busiest = std::max_element(flops.begin(), flops.end()) - flops.begin();
    const bool can_be_evener = least < uneven - 0.01;
    warnings.push_back(fmt::format(
        "stage {} has {:.1f} % more FLOPs than the mean, and all others wait for it; {}", busiest, 1e2 * uneven,
        can_be_evener ? fmt::format("with parallel.auto_partition and memory_weight = 0 it would be {:.1f} %, for less "
                                    "even memory",
                                    1e2 * least)
                      : std::string("no other cut of these modules is evener: use fewer stages, or a number of layers "
                                    "that leaves room for the head")));
}

}  // namespace

std::vector<std::string> warnings_of(const Plan& plan, const ModuleGraph& graph, const ParallelOptions& options,
                                     const ClusterOptions& cluster, const std::function<bool(int)>& is_possible,
                                     const std::vector<int>& nodes) {
    std::vector<std::string> warnings;
    const int world = plan.topology.degrees.world();
    warn_of_nodes(plan.topology, nodes.empty() ? consecutive_nodes(world, world / cluster.nodes) : nodes, warnings);
    warn_of_odd_tensor_degree(plan.topology.degrees.tp, is_possible, warnings);
    warn_of_idle_stages(plan, warnings);
    warn_of_useless_offloading(plan, options, warnings);
    warn_of_uneven_stages(plan, graph, warnings);
    return warnings;
}

}  // namespace smp::partition
