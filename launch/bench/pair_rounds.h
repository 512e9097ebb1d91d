// In which order the pairs of a world are measured.
#pragma once

#include <utility>
#include <vector>

namespace smp::launch {

/// Pairs that are measured at the same time: no rank is in two of them, the lower rank comes first.
using PairRound = std::vector<std::pair<int, int>>;

/// Beyond so many ranks disjoint pairs are measured at the same time: the rounds are then as many as ranks, not as
/// pairs, for which pairs that share a way may disturb each other.
constexpr int kMostRanksInTurn = 16;

/// Every pair of `ranks` ranks once: one a round up to kMostRanksInTurn, else as disjoint_rounds().
std::vector<PairRound> pair_rounds(int ranks);

/// Every pair once, in as few rounds as there can be: ranks − 1, or ranks where these are odd (the circle method: one
/// rank stays, the others move on by one place a round, and opposite ones meet).
std::vector<PairRound> disjoint_rounds(int ranks);

}  // namespace smp::launch
