// What the ranks measured, on one clock.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "comms/communicator.h"
#include "partition/foresight/action_times.h"
#include "partition/plan/plan.h"
#include "runtime/execution/timed_work.h"

namespace smp::runtime {

/// How far a rank's steady clock is ahead of rank 0's, and how wrong that can be, in nanoseconds.
struct ClockOffset {
    std::int64_t ahead = 0;
    std::int64_t error = 0;
};

/// On rank 0, for each rank; elsewhere empty. Rank 0 asks each rank for its time and takes the answer for that of the
/// middle of the shortest of several round trips: the clock was read within it, so the error is at most half of it,
/// however unequal its two ways are. Clocks of one machine are one clock; the answer then is no further from 0 than
/// that. Collective, blocking: a few dozen microseconds a rank. `clock` is this rank's, in nanoseconds.
std::vector<ClockOffset> clock_offsets(comms::Communicator& world,
                                       const std::function<std::int64_t()>& clock = steady_nanoseconds);

/// The times that each rank took, by its clock, of step `step` of the plan's training. Collective, blocking.
partition::StepTimes gather_times(comms::Communicator& world, const partition::Plan& plan, std::int64_t step,
                                  const partition::ActionTimes& own);

}  // namespace smp::runtime
