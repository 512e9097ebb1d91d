// What this machine has for ranks that are threads of one process, and what they will want.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"
#include "runtime/machine/kernel_files.h"

namespace smp::launch {

/// Bytes that this process may take before something else must go: what the machine has available and its free swap,
/// or what the memory limits of the control groups (versions 1 and 2) that it is in leave, whichever is less. None
/// where nothing says so.
std::optional<std::int64_t> available_memory(const runtime::KernelFiles& files = {});

/// What all ranks of the plan hold at their peaks, in one process: what is offloaded, too.
std::int64_t memory_of_all_ranks(const partition::Plan& plan, const partition::ModuleGraph& graph);

/// A sentence if `available` bytes are too few for all ranks of the plan as threads of one process.
std::optional<std::string> misfit_of_threads(const partition::Plan& plan, const partition::ModuleGraph& graph,
                                             std::int64_t available);

}  // namespace smp::launch
