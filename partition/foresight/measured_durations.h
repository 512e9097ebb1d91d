// What a measured step says: as durations for the simulator, and beside what was predicted.
#pragma once

#include <cstdint>
#include <string>

#include "partition/foresight/action_times.h"
#include "partition/foresight/durations.h"
#include "partition/job/module_graph.h"
#include "partition/plan/pairing.h"
#include "partition/plan/plan.h"

namespace smp::partition {

/// When the first action of all ranks began.
std::int64_t first_nanosecond(const StepTimes& times);

/// From the start of the first compute action to the end of the last, over all ranks, in nanoseconds.
std::int64_t measured_nanoseconds(const Plan& plan, const StepTimes& times);

/// Idle over ideal time, as Timeline defines it, of all ranks: Σ (step − compute) / Σ compute. The optimizer
/// step counts from the moment at which the last rank had come to it, as it does there. Waiting inside an action (for
/// the tensor group) counts as compute.
double measured_bubble(const Plan& plan, const StepTimes& times);

/// What the actions of the plan's training took, in nanoseconds, as the pipeline of tensor rank 0 and replica 0 saw it:
/// simulated, they give its step again, as far as the plan is what was executed. Compute: its duration. A message:
/// latency alone, from the moment at which both sides could post it until the receiver found it complete. A reduction:
/// likewise, from its posting, other replicas' delays included. A copy to or from host memory: from its posting, or the
/// end of the one before it, to its end. The optimizer step: from the moment at which the last
/// stage had come.
/// A rank's thread posts messages and moves others on between its actions, for which the simulator has no duration, and
/// which is where it loses its processor to the thread that a message wakes. That time (and a late begin of the step)
/// counts with the next action, as far as that was ready earlier. What a rank waited does not: a wait for something
/// that the plan does not name makes the simulated step shorter than the measured one.
Durations measured_durations(const Plan& plan, const StepTimes& times);

/// Rates at which the modelled compute and the modelled optimizer take as long as they did; links are as
/// Rates has them.
Rates achieved_rates(const Plan& plan, const ModuleGraph& graph, const Durations& measured);

/// One line for people: the step's time and bubble, measured, predicted from the model at its achieved rates, and
/// simulated with its own measured durations.
std::string comparison(const Plan& plan, const ModuleGraph& graph, const StepTimes& times);

/// The ranks of one pipeline, stage by stage: those of equal tensor rank and replica.
Table<StageId, int> pipeline_of(const Plan& plan, int tp, int rdp);

}  // namespace smp::partition
