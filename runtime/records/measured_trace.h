// A measured step as a timeline, with the names that smp_plan's trace has. No LibTorch.
#pragma once

#include <cstdint>

#include "partition/foresight/action_times.h"
#include "partition/plan/plan.h"
#include "runtime/records/trace_events.h"

namespace smp::runtime {

/// A trace without spans: one process a rank, "rank 3 (pp 1, tp 0, rdp 1)".
Trace trace_of_ranks(const partition::Plan& plan);

/// Adds the step's actions, by the names that smp_plan's trace has. `zero_ns` of rank 0's clock is the trace's 0. A
/// message shows on both sides from the moment at which both had posted it, a copy from the end of the one before.
void add_step(Trace& trace, const partition::Plan& plan, const partition::StepTimes& times, std::int64_t zero_ns);

}  // namespace smp::runtime
