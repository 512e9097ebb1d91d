// Text drawn from the model: forward passes of the plan's sampling program, one for each token.
#pragma once

#include <cstdint>
#include <vector>

#include "comms/communicator.h"
#include "partition/job/topology.h"
#include "partition/plan/plan.h"
#include "runtime/execution/executor.h"
#include "runtime/execution/text_sampler.h"

namespace smp::runtime {

/// Runs until `text` is complete: what it has drawn is the same on every rank. `length`: tokens that go through the
/// model at once. Collective over `world`.
void draw_text(TextSampler& text, std::int64_t length, const partition::Plan& plan, const partition::Coordinate& at,
               Executor& executor, comms::Communicator& world);

}  // namespace smp::runtime
