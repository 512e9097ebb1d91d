// Causal attention on tensor cores, for elements of 16 bits. What attention.cu's kernels do, but that a weight, and the
// gradient of a score, is rounded to the elements' storage before it is multiplied: tensor cores take nothing else.
#pragma once

#include <initializer_list>

#include "models/kernels/cuda/device_kernels.h"

namespace smp::models::kernels::cuda {

/// Heads of whole runs of 16 bytes that lie at multiples of 16 bytes: 8, 16, … 128 columns of 16 bits.
bool takes_tiles(const HeadShape& shape, std::initializer_list<ConstElements> parts);

/// As attention() in device_kernels.h.
void attend_by_tiles(Elements out, float* logsumexp, ConstElements qkv, const HeadShape& shape,
                     const WeightDropout& dropout, void* stream);
/// As attention_backward(), with `delta` [b, H, T]: Σ over the columns of ō · o.
void gradient_by_tiles(Elements dqkv, const float* delta, ConstElements dout, ConstElements qkv, const float* logsumexp,
                       const HeadShape& shape, const WeightDropout& dropout, void* stream);

}  // namespace smp::models::kernels::cuda
