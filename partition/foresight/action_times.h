// When the actions of a program ran on one rank, and in one step on all of them.
#pragma once

#include <cstdint>
#include <vector>

#include "partition/job/ids.h"

namespace smp::partition {

/// In nanoseconds of the rank's steady clock, or of rank 0's where all ranks' stand together.
struct ActionTime {
    std::int64_t reached = 0;  // the rank's list came to it, and waited for what it waits for
    std::int64_t start = 0;    // it began; messages and reductions were posted
    std::int64_t end = 0;      // it was done; messages and reductions were found complete

    bool operator==(const ActionTime&) const = default;
};

/// By position in the rank's program.
using ActionTimes = Table<ActionId, ActionTime>;

/// One training step of a whole world.
struct StepTimes {
    std::int64_t step = 0;                // from 1
    std::vector<ActionTimes> ranks = {};  // by world rank, on rank 0's clock; empty on other ranks
    /// A bound on how far rank 0's clock is from each other one's, once aligned.
    std::int64_t clock_error = 0;
};

}  // namespace smp::partition
