// Which bytes are alive when, once it is known when each action ran.
#pragma once

#include <vector>

#include "partition/simulator.h"

namespace smp::partition {

/// The series of one stage, as Timeline::memory describes it. `runs` has one entry an action of `program`.
std::vector<MemoryPoint> live_bytes(const RankProgram& program, const std::vector<Run>& runs);

}  // namespace smp::partition
