// The global gradient norm, independent of how parameters are spread over stages, replicas and threads.
#pragma once

#include <span>

#include <ATen/core/Tensor.h>

#include "runtime/state/exact_sum.h"
#include "runtime/state/flat_layout.h"

namespace smp::runtime {

/// Exact sum of the squares' block sums over the parts of `counted` that lie in `owned`. A block is kBlockElements
/// elements from a multiple of that; inside it the squares are added in fp64 in a fixed order. `flat`: fp32 [elements].
/// Ranges begin at block edges. Local.
ExactSum sum_of_squares(const at::Tensor& flat, std::span<const Range> counted, std::span<const Range> owned);

/// max_norm / (norm + 1e-6) where that is below 1, else 1 (as torch.nn.utils.clip_grad_norm_); 1 for max_norm 0, which
/// switches clipping off.
double clip_factor(double norm, double max_norm);

}  // namespace smp::runtime
