// What a plan does that is allowed and seldom meant: sentences for people, each with a remedy. What cannot work at all
// is refused before there is a plan.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "partition/job/module_graph.h"
#include "partition/job/options.h"
#include "partition/plan/plan.h"

namespace smp::partition {

/// About the plan of `graph` with `options` on `cluster`. `nodes`: that of each rank, where it is known; else the
/// cluster's nodes divide the world, ranks in order: rank r is on node r / (world / nodes).
/// - Tensor parallelism that leaves the node.
/// - A tensor degree that is no power of two, where one that is possible (empty: any) is next to it.
/// - Fewer microbatches than stages; or fewer active ones (K) than the stages could use.
/// - Offloading that has no effect: nothing is checkpointed, or the horizon reaches all tasks.
/// - A stage with over 5 % more FLOPs than the mean. The remedy says whether memory_weight = 0 would help, and how
/// much.
std::vector<std::string> warnings_of(const Plan& plan, const ModuleGraph& graph, const ParallelOptions& options,
                                     const ClusterOptions& cluster,
                                     const std::function<bool(int tensor_degree)>& is_possible = {},
                                     const std::vector<int>& nodes = {});

}  // namespace smp::partition
