// How squares are added up to the gradient norm. C++17, no other header of ours: kernels see it too.
#pragma once

#include <cstdint>

namespace smp::runtime {

/// The size of the blocks whose sums of squares make the gradient norm. Parameters begin at block edges.
inline constexpr std::int64_t kBlockElements = 64;

/// Partial sums of a block, in fp64: lane l adds elements l, l + kBlockLanes, …, then the lanes are added in their
/// order. Fixed, so that the compiler may use vectors and a device threads, and the result does not depend on it.
inline constexpr int kBlockLanes = 8;

}  // namespace smp::runtime
