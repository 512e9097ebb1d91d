// Which bytes are alive when, once it is known when each action ran.
#pragma once

#include <vector>

#include "partition/foresight/simulator.h"

namespace smp::partition {

/// The series of one stage, as Timeline::memory describes it. `spans` has one entry an action of `program`.
std::vector<MemoryPoint> live_bytes(const RankProgram& program, const Table<ActionId, ActionSpan>& spans);

}  // namespace smp::partition
