// The sums of a step on a CUDA device, and what its update does by them, without the host.
#pragma once

#include <array>
#include <span>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "comms/device/rank_device.h"
#include "runtime/state/flat_layout.h"
#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime {

class StepSums {
  public:
    /// `everyone`: all ranks, for tensors on their devices. Both must outlive this.
    StepSums(comms::Communicator& everyone, const comms::RankDevice& device);

    /// What a rank adds.
    struct Terms {
        at::Tensor losses;  // fp64 [n]; undefined: none
        at::Tensor gradients;
        std::span<const Range> counted, owned;  // see gradient_norm.h
    };
    /// Sums over the world, and the decision, in the order of the current stream; the decision lies on the device until
    /// the next. Collective.
    const cuda::StepDecision* decide(const Terms& terms, const cuda::StepRule& rule);
    /// Of losses and of squares, as the CPU adds them, to the bit: once the device has come behind decide().
    std::array<double, 2> totals() const;

  private:
    comms::Communicator& everyone_;
    const comms::RankDevice& device_;
    at::Tensor words_, decision_;  // int64 [2, ExactSum::kWords], bytes of a StepDecision
    at::Tensor here_;              // the words, in pinned memory
};

}  // namespace smp::runtime
