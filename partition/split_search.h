// Depth-first search for a split of a chain that keeps given costs.
#pragma once

#include <optional>
#include <vector>

#include "partition/least_squares.h"
#include "partition/split_bounds.h"

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
};

struct SplitAnswer {
    std::vector<int> first_modules;  // empty: none found
    bool complete = true;            // false: cut off, there may be one
};

/// Deterministic; ends after a fixed number of tried cuts.
SplitAnswer find_split(const Chain& chain, const SplitQuery& query);

}  // namespace smp::partition
