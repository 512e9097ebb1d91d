// Text drawn from the model: forward passes of the plan's sampling program, one for each token.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "partition/job/topology.h"
#include "partition/plan/plan.h"
#include "runtime/execution/executor.h"
#include "runtime/execution/text_sampler.h"

namespace smp::runtime {

/// Runs until `text` is complete: what it has drawn is the same on every rank, and `drawn` gets each token as it comes.
/// `length`: tokens that go through the model at once. Collective over `world`.
void draw_text(TextSampler& text, std::int64_t length, const partition::Plan& plan, const partition::Coordinate& at,
               Executor& executor, comms::Communicator& world,
               const std::function<void(std::int64_t token)>& drawn = {});

/// Logits after each of `tokens`, of which there are `length`: fp32 [length, vocabulary] on the ranks of the last
/// stage, undefined elsewhere. Collective over the world.
at::Tensor logits_of(const at::Tensor& tokens, const partition::Plan& plan, const partition::Coordinate& at,
                     Executor& executor);

}  // namespace smp::runtime
