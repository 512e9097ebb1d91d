// AdamW (Loshchilov & Hutter 2019, "Decoupled weight decay regularization") over flat buffers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/job/options.h"
#include "runtime/stage/stage.h"
#include "runtime/state/flat_layout.h"
#include "runtime/state/holdings.h"
#include "runtime/state/stage_layout.h"
#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime {

/// Moments of everything that this rank updates, its master copy where values are 16 bits wide, and the update. The
/// arithmetic is elementwise: neither the cut into ranges nor the number of threads shows in the bits.
class AdamW {
  public:
    /// Updates the parts of the flat buffers in `ranges` (ascending), and holds moments and masters for them alone.
    /// `stage` must outlive the optimizer. Weight decay applies to parameters with Parameter::decays. Masters are zeros
    /// until start_from().
    AdamW(const Stage& stage, const TrainingOptions& options, std::span<const Range> ranges);

    /// Sets the masters of parameter `parameter` of the stage, as far as they are here, to `values`: fp32, of its local
    /// shape, not rounded yet. Without masters: nothing.
    void start_from(int parameter, const at::Tensor& values);

    /// One update with the gradients as they lie in the stage, times `factor`: number `update`, from 1, since the
    /// moments were zero. Afterwards the gradients may be multiplied or not. Local; on the CPU.
    void step(std::int64_t update, double learning_rate, double factor);
    /// The same on CUDA, in the order of the current stream, by what the device has decided. Gradients stay as they
    /// are.
    void step_on_cuda(std::int64_t update, double learning_rate, const cuda::StepDecision* decision);

    /// The flat buffer of a kind, as holdings() counts its places; undefined for masters that there are none of. Throws
    /// std::logic_error for Held::value.
    const at::Tensor& state(Held kind) const;

    /// Of moments and masters: partition::optimizer_bytes() a parameter.
    std::int64_t bytes() const;

  private:
    struct Group {
        double weight_decay = 0;
        std::vector<at::Tensor> values, gradients, first_moments, second_moments;
    };

    const Stage& stage_;
    std::vector<Range> ranges_;
    std::vector<ParameterPart> parts_;
    double beta1_, beta2_, epsilon_, weight_decay_;
    at::Tensor first_moments_, second_moments_;  // fp32, the ranges one behind the other
    at::Tensor masters_;                         // likewise; undefined where the values themselves are fp32
    std::vector<Group> groups_;
};

}  // namespace smp::runtime
