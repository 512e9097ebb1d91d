// The order in which samples are visited: a keyed permutation for each epoch, computed rather than stored.
#pragma once

#include <array>
#include <cstdint>

namespace smp::runtime {

/// A bijection of 0 … count − 1 that depends on (seed, epoch) alone. A balanced Feistel network over the smallest even
/// number of bits that holds count (Luby & Rackoff 1988; six rounds of a 64-bit mixer), walking cycles until the value
/// is below count (Black & Rogaway 2002): at most four walks on average, no memory. Checkpoints keep only a position in
/// this order, so for given arguments the result never changes.
class EpochPermutation {
  public:
    /// count ≥ 1.
    EpochPermutation(std::int64_t count, std::uint64_t seed, std::int64_t epoch);

    /// index in 0 … count − 1, as is the result.
    std::int64_t operator()(std::int64_t index) const;

  private:
    std::uint64_t count_;
    int half_bits_;
    std::array<std::uint64_t, 6> keys_;
};

}  // namespace smp::runtime
