// What a run could do better, from what was seen of it: a few sentences for a person, each with the key to change and
// what it would bring by the plan's forecast. What was wrong before the first step is a warning
// (partition/foresight/warnings.h) and not said again. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"
#include "runtime/job/job.h"

namespace smp::runtime {

struct Observed {
    double step_seconds = 0;            // of a step as a rule
    std::optional<double> bubble = {};  // measured: idle over ideal time of all ranks
    std::int64_t device_peak = 0;       // bytes of the largest rank in a step
    std::vector<int> nodes = {};        // of each rank; empty: all on one
};

/// The most useful first, at most kMostAdvice:
/// - More active microbatches (K), or more microbatches, where stages stand idle for over 15 % on top of their work.
/// - The job fits cluster.memory_limit_gib without checkpointing, or without offloading.
/// - A switch that saves no memory here: checkpointing, offloading, optimize = memory, sharded optimizer states.
/// - Tensor parallelism over hosts, with what it costs.
/// - Memory that lies idle under the limit, which larger microbatches or a larger batch could take.
/// - Microbatches so small that a stage is done with one within a millisecond.
/// `plan` and `graph` are what the job was executed as. Every alternative is planned and simulated, at the speed that
/// was seen; nothing is said of plans of over 200,000 actions, for which that would take too long.
std::vector<std::string> advice_after(const Job& job, const partition::Plan& plan, const partition::ModuleGraph& graph,
                                      const Observed& observed);

inline constexpr std::size_t kMostAdvice = 3;

}  // namespace smp::runtime
