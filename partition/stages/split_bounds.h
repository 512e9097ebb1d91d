// What every split of a chain keeps that has no chunk above one cost and no rank above another. These bounds are cheap,
// and they are what makes the search for the cheapest split short.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "partition/stages/chain_split.h"

namespace smp::partition {

/// A chain to be cut into rounds · stages chunks. Chunk i, the run between cuts i and i + 1, is the one of rank
/// i mod stages in round i / stages.
class Chain {
  public:
    Chain(const ChainCosts& costs, int stages, int rounds);

    int stages() const { return stages_; }
    int rounds() const { return rounds_; }
    int chunks() const { return stages_ * rounds_; }
    int modules() const { return modules_; }

    /// Of a chunk [first, end).
    std::int64_t run(int first, int end) const;
    std::int64_t whole() const { return run(0, modules_); }
    /// End of the longest run from `first` that costs at most `limit`; `first` if there is none.
    int reach(int first, std::int64_t limit) const;
    /// Start of the longest run up to `end` that costs at most `limit`; `end` if there is none.
    int reach_back(int end, std::int64_t limit) const;

    /// What [first, end) adds to the cost of a rank, at least, whatever else that holds.
    std::int64_t least(int first, int end) const;
    /// What a rank saves by holding [first, end) as its chunk `chunk` beside its chunks of earlier rounds.
    std::int64_t saved(int chunk, int first, int end, std::span<const int> cuts) const;
    bool ranks_share() const { return !shared_.empty(); }  // may hold several modules of one shared parameter
    /// The cost of all modules but the first and the last, of whichever of them a rank holds, is a multiple of this.
    std::int64_t grain() const { return grain_; }

  private:
    int stages_;
    int rounds_;
    int modules_;
    std::vector<std::int64_t> runs_;          // [first][end]
    std::vector<ChainCosts::Shared> shared_;  // those of which a rank may hold several modules
    std::vector<std::int64_t> least_before_;  // each module, without its part in shared_
    std::int64_t grain_ = 1;
};

/// What all splits keep whose chunks and ranks cost at most so much. Necessary, not sufficient.
struct SplitBounds {
    std::vector<std::int64_t> chunk_limit;        // most that each chunk may cost
    std::vector<std::int64_t> later_rounds_cost;  // least of the chunks of the same rank in later rounds, together
    std::vector<int> earliest, latest;            // where each cut may lie, from cut 0 = 0 to cut chunks() = modules()
    std::vector<std::int64_t> rank_limit;         // most that each rank may cost
    std::vector<std::int64_t> ranks_from_limit;   // … and it and all ranks after it, together
    std::vector<std::vector<int>> farthest;       // [i][first]: where the last chunk of the round of chunk i can end if
                                                  // that starts at `first`; -1: nowhere
};

/// None if it is plain that there is no such split. With largest_rank = the whole chain's cost, there is one if there
/// are bounds.
std::optional<SplitBounds> bounds_of(const Chain& chain, std::int64_t largest_chunk, std::int64_t largest_rank);

}  // namespace smp::partition
