// How squares are added up to the gradient norm, and what the norm does. C++17, no other header of ours: kernels see it
// too.
#pragma once

#include <cstdint>

namespace smp::runtime {

/// The size of the blocks whose sums of squares make the gradient norm. Parameters begin at block edges.
inline constexpr std::int64_t kBlockElements = 64;

/// Partial sums of a block, in fp64: lane l adds elements l, l + kBlockLanes, …, then the lanes are added in their
/// order. Fixed, so that the compiler may use vectors and a device threads, and the result does not depend on it.
inline constexpr int kBlockLanes = 8;

/// max_norm / (norm + 1e-6) where that is below 1, else 1 (as torch.nn.utils.clip_grad_norm_); 1 for max_norm 0, which
/// switches clipping off.
constexpr double clip_factor(double norm, double max_norm) {
    const double factor = max_norm > 0 ? max_norm / (norm + 1e-6) : 1.0;
    return factor < 1.0 ? factor : 1.0;
}

}  // namespace smp::runtime
