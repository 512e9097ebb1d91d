// Depth-first search for a split of a chain that keeps given costs.
#pragma once

#include <vector>

#include "partition/stages/least_squares.h"
#include "partition/stages/split_bounds.h"

namespace smp::partition {

enum class CutOrder {
    earliest,  // the first split in the order of cheapest_split, if there is one
    evenest,   // any split: tries cuts near even shares first, which finds one sooner
};

struct SplitQuery {
    const SplitBounds& bounds;
    const LeastSquares* squares = nullptr;  // none: any sum of squares will do
    Wide most_squares = 0;
    CutOrder order = CutOrder::evenest;
    int most_tries = 0;  // places for one cut
};

struct SplitAnswer {
    std::vector<int> first_modules;  // empty: none found
    bool complete = true;            // false: cut off by most_tries, so that there may be one
    int tries = 0;
};

/// A split with its chunks and ranks within `bounds` and, if `squares` are given (for the same bounds), with at most
/// `most_squares`. Pure: equal queries have equal answers.
SplitAnswer find_split(const Chain& chain, const SplitQuery& query);

}  // namespace smp::partition
