// The global gradient norm, independent of how parameters are spread over stages, replicas and threads.
#pragma once

#include <span>

#include <ATen/core/Tensor.h>

#include "runtime/state/exact_sum.h"
#include "runtime/state/flat_layout.h"

namespace smp::runtime {

/// Exact sum of the squares' block sums over the parts of `counted` that lie in `owned`. A block is kBlockElements
/// elements from a multiple of that; inside it the squares are added in fp64 in a fixed order. `flat`: fp32 [elements].
/// Ranges begin at block edges. Local; on the CPU.
ExactSum sum_of_squares(const at::Tensor& flat, std::span<const Range> counted, std::span<const Range> owned);
/// The same to the bit, on CUDA: words int64 [ExactSum::kWords] += the sum's limbs, in the order of the current stream.
void add_sum_of_squares(const at::Tensor& words, const at::Tensor& flat, std::span<const Range> counted,
                        std::span<const Range> owned);

}  // namespace smp::runtime
