// Sums of doubles that do not depend on the order or the grouping of their terms.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "runtime/state/limbs.h"

namespace smp::runtime {

/// A fixed-point accumulator wide enough for every finite double (as in Kulisch's long accumulator): adding is exact,
/// so any split of the terms over threads and ranks gives the same total, and value() rounds once. Two accumulators are
/// added limb by limb, which any integer all-reduce does.
class ExactSum {
  public:
    static constexpr int kLimbs = Limbs::kCount;
    static constexpr int kWords = kLimbs + 1;  // the last one counts terms that were not finite

    void add(double term);
    void add(const ExactSum& other);

    /// The total, correctly rounded to nearest even; NaN once a term was not finite.
    double value() const;

    /// Limbs with carries passed on: up to 2^31 such arrays may be summed element by element without overflow, then
    /// read back.
    std::array<std::int64_t, kWords> words() const;
    static ExactSum from_words(std::span<const std::int64_t> words);

  private:
    void pass_carries();

    std::array<std::int64_t, kLimbs> limbs_{};
    std::int64_t not_finite_ = 0;
    int pending_ = 0;  // additions since carries were passed on
};

}  // namespace smp::runtime
