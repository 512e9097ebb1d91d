// What a plan needs of a rank's memory, beside a limit and beside what was measured. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "partition/foresight/memory_use.h"
#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"

namespace smp::partition {

/// Bytes on a rank of one stage in a training step: those of the plan's buffers, in the order of its list
/// (memory_peaks), and of optimizer states. Not among them are the few hundred words
/// that an update sums over the world, when all else of the step has gone.
struct MemoryForecast {
    MemoryBytes peak = {};         // of each category
    std::int64_t device_peak = 0;  // at once, but for `offloaded`
};
MemoryForecast memory_forecast(const Plan& plan, const ModuleGraph& graph, StageId stage);

/// Likewise in an evaluation between two steps, beside gradients and all else that stays.
MemoryForecast evaluation_forecast(const Plan& plan, const ModuleGraph& graph, StageId stage);

/// cluster.memory_limit_gib in bytes.
std::optional<std::int64_t> memory_limit(const ClusterOptions& cluster);

/// Bytes of optimizer states on a rank of a stage (optimizer_bytes an element of its flat buffers); of its shard where
/// they are sharded.
std::int64_t optimizer_bytes(const Plan& plan, const ModuleGraph& graph, StageId stage);

/// Why the plan cannot run within `limit_bytes` on each device, its evaluations included where it evaluates: a sentence
/// about its largest stage, with need and limit, and how many data-parallel ranks would do where sharding over more of
/// them would. Nothing where it fits.
std::optional<std::string> misfit(const Plan& plan, const ModuleGraph& graph, std::int64_t limit_bytes);

/// One line for people: what a rank of `stage` took at most in a step, each category, beside its forecast where that
/// reads differently.
std::string memory_comparison(const Plan& plan, const ModuleGraph& graph, StageId stage, const MemoryUse& use);

}  // namespace smp::partition
