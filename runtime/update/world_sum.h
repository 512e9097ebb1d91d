// Numbers that every rank of the world adds to, and that every rank gets.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "models/segment.h"
#include "partition/job/topology.h"
#include "runtime/state/exact_sum.h"

namespace smp::runtime {

/// A loss for each of a run's microbatches.
struct StepLosses {
    std::vector<models::Loss> of_microbatch;
    at::Tensor slots;  // fp64 [microbatches], where a rank on CUDA keeps them; else undefined
};
/// Of nothing so far.
StepLosses make_losses(std::size_t microbatches, at::Device device);

/// What this rank adds to the world's loss: every tensor rank of the last stage has made the same losses, the first one
/// counts them. Losses of other stages are 0.
ExactSum counted_losses(std::span<const models::Loss> losses, const partition::Coordinate& at);

/// Each sum over the world, exactly, rounded once. Collective, blocking: one message for all of them.
std::vector<double> sum_over_world(comms::Communicator& world, std::span<const ExactSum> sums);

std::int64_t largest_over_world(comms::Communicator& world, std::int64_t value);

}  // namespace smp::runtime
