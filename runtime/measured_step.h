// What a measured step says: as prices for the simulator, as a timeline, beside what was predicted. No LibTorch.
#pragma once

#include <cstdint>
#include <string>

#include "partition/module_graph.h"
#include "partition/plan.h"
#include "partition/prices.h"
#include "runtime/action_times.h"
#include "runtime/trace_events.h"

namespace smp::runtime {

/// When the first action of all ranks began.
std::int64_t first_nanosecond(const StepTimes& times);

/// From the start of the first compute action to the end of the last, over all ranks, in nanoseconds.
std::int64_t measured_nanoseconds(const partition::Plan& plan, const StepTimes& times);

/// Idle over ideal time, as partition::Timeline defines it, of all ranks: Σ (step − compute) / Σ compute. The optimizer
/// step counts from the moment at which the last rank had come to it, as it does there. Waiting inside an action (for
/// the tensor group) counts as compute.
double measured_bubble(const partition::Plan& plan, const StepTimes& times);

/// What the actions of the plan's training took, in nanoseconds, as the pipeline of tensor rank 0 and replica 0 saw it:
/// simulated, they give its step again, as far as the plan is what was executed. Compute: its duration. A message:
/// latency alone, from the moment at which both sides could post it until the receiver found it complete. A reduction:
/// likewise, from its posting, other replicas' delays included. A copy to or from host memory: from its posting, or the
/// end of the one before it, to its end. The optimizer step: from the moment at which the last
/// stage had come.
/// A rank's thread posts messages and moves others on between its actions, for which the simulator has no price, and
/// which is where it loses its processor to the thread that a message wakes. That time (and a late begin of the step)
/// counts with the next action, as far as that was ready earlier. What a rank waited does not: a wait for something
/// that the plan does not name makes the simulated step shorter than the measured one.
partition::Prices measured_prices(const partition::Plan& plan, const StepTimes& times);

/// Rates at which the modelled compute and the modelled optimizer take as long as they did; links are as partition::
/// Rates has them.
partition::Rates achieved_rates(const partition::Plan& plan, const partition::ModuleGraph& graph,
                                const partition::Prices& measured);

/// One line for people: the step's time and bubble, measured, predicted from the model at its achieved rates, and
/// simulated with its own measured prices.
std::string comparison(const partition::Plan& plan, const partition::ModuleGraph& graph, const StepTimes& times);

/// A trace without spans: one process a rank, "rank 3 (pp 1, tp 0, rdp 1)".
Trace trace_of_ranks(const partition::Plan& plan);

/// Adds the step's actions, by the names that smp_plan's trace has. `zero_ns` of rank 0's clock is the trace's 0. A
/// message shows on both sides from the moment at which both had posted it, a copy from the end of the one before.
void add_step(Trace& trace, const partition::Plan& plan, const StepTimes& times, std::int64_t zero_ns);

}  // namespace smp::runtime
