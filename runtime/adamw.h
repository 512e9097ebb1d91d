// AdamW (Loshchilov & Hutter 2019, "Decoupled weight decay regularization") over flat buffers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/flat_layout.h"
#include "runtime/options.h"
#include "runtime/stage.h"

namespace smp::runtime {

/// Moments of everything that this rank updates, and the update. The arithmetic is elementwise: neither the cut into
/// ranges nor the number of threads shows in the bits.
class AdamW {
  public:
    /// Updates the parts of the flat buffers in `ranges` (ascending), and holds moments for them alone. `stage` must
    /// outlive the optimizer. Weight decay applies to parameters with Parameter::decays.
    AdamW(Stage& stage, const TrainingOptions& options, std::span<const Range> ranges);

    /// One update with the gradients as they lie in the stage. Local.
    void step(double learning_rate);

    /// Of both moments.
    std::int64_t bytes() const;

  private:
    struct Group {
        double weight_decay = 0;
        std::vector<at::Tensor> values, gradients, first_moments, second_moments, steps;
    };

    double beta1_, beta2_, epsilon_;
    at::Tensor first_moments_, second_moments_;  // fp32, the ranges one behind the other
    std::vector<Group> groups_;
    std::int64_t updates_ = 0;
};

}  // namespace smp::runtime
