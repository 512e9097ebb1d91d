// Every kernel of a step before the first message of one.
#pragma once

#include <cstdint>

#include "partition/plan/plan.h"
#include "runtime/execution/executor.h"

namespace smp::runtime {

/// Runs each module of the stage once, forward as in an evaluation and as in training, and backward as the plan does,
/// without messages between stages, and then the update, with gradients of zero. No step takes less memory. Values and
/// moments must be zero, as they are made, and stay so; gradients are zero afterwards. CUDA loads a kernel when it is
/// started first, and may wait for all that its device does until then (CUDA C++ Programming Guide, "Lazy Loading",
/// potential hazards): in the midst of a step that can be a receive whose send waits for this rank, and nobody would go
/// on. `sequences` of `length` tokens: a microbatch. Collective over the world; waits for the device. The current
/// stream must be the rank's. Throws CommunicationError and MemoryError.
void warm_up(const partition::Plan& plan, const RankParts& rank, const TrainingState& state, std::int64_t sequences,
             std::int64_t length);

}  // namespace smp::runtime
