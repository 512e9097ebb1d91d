// How even a split within bounds can be at best: lower bounds for the sum of squares of its chunks.
#pragma once

#include <cstdint>
#include <vector>

#include "partition/stages/split_bounds.h"

namespace smp::partition {

using Wide = __int128;  // sums of squares of ticks

/// Least sums over chunks within their limits. A recursion along a round does not see what the chunks of a rank cost
/// together; lest it fill ranks beyond their limits, each tick on a rank has a price beside its square, and each rank's
/// limit at its price is taken off the whole (Lagrange's relaxation: a lower bound at any prices). For layers that cost
/// the same the prices make the bound exact, or nearly so.
class LeastSquares {
  public:
    LeastSquares(const Chain& chain, const SplitBounds& bounds);

    /// Chunk `chunk` and those that follow it in its round cover [first, end). kNone: they cannot.
    Wide round_from(int chunk, int first, int end) const;
    /// Round `round` and all later ones cover the chain from `first` on, less the limits at their prices: all that is
    /// left for round = rounds, and for round = 0 the lower bound of the sum of squares of any split.
    Wide rounds_from(int round, int first) const;
    /// What a chunk on `rank` counts for: its square and its price.
    Wide of_chunk(int rank, std::int64_t ticks) const {
        return Wide{ticks} * (ticks + prices_[static_cast<std::size_t>(rank)]);
    }
    /// What was taken off too much for a rank whose chunks cost `ticks` together. With it a whole split counts for its
    /// sum of squares.
    Wide of_unused(int rank, std::int64_t ticks) const {
        return Wide{prices_[static_cast<std::size_t>(rank)]} * (limits_[static_cast<std::size_t>(rank)] - ticks);
    }

    static constexpr Wide kNone = Wide{1} << 120;

  private:
    struct Table {  // of one chunk: [first − least first][end − least end]
        int first = 0, end = 0, ends = 1;
        std::vector<Wide> squares = {};
    };
    std::vector<std::int64_t> limits_;
    std::vector<std::int64_t> prices_;
    std::vector<Table> tables_;
    std::vector<std::vector<Wide>> rounds_;
};

}  // namespace smp::partition
