// Where a chain of modules is cut into chunks that ranks take in turns, so that neither a chunk nor a rank costs much.
#pragma once

#include <cstdint>
#include <vector>

namespace smp::partition {

/// What a chain costs, in integer ticks of 0 or more. Whoever holds a set of modules pays their sum, less, for each
/// shared parameter of which the set has n ≥ 2 modules, n − 1 times what the second copy would have cost.
struct ChainCosts {
    struct Shared {
        std::int64_t ticks = 0;    // of one copy
        std::vector<int> modules;  // ascending
    };
    std::vector<std::int64_t> module_ticks;  // with a copy of every shared parameter that the module uses
    std::vector<Shared> shared;

    /// Of the modules [first_module, end_module): a chunk.
    std::int64_t of(int first_module, int end_module) const;
};

/// What each of `stages` ranks pays, where chunk i starts at first_modules[i] and belongs to rank i mod stages. A rank
/// has one copy of a shared parameter for all its chunks, so it may pay less than its chunks one by one: a chunk's cost
/// is its own whatever else its rank holds, since it stands for the time of one step of the pipeline.
std::vector<std::int64_t> rank_ticks(const ChainCosts& costs, const std::vector<int>& first_modules, int stages);

struct Split {
    std::vector<int> first_modules;  // of each chunk
    bool proven = true;  // nothing is better; false: the search was cut off, and this is the best it had found
};

/// The cheapest split into stages · chunks_per_stage non-empty runs: the least largest chunk first, then the least
/// largest rank (rank_ticks), then the least sum of squares of the chunks, then the earliest cuts: those before the
/// chunks of the first stage in ascending order, then those before the chunks of the second stage, and so on. Needs at
/// least as many modules as chunks.
/// Several chunks a rank make this a search over how the chain can be dealt out, which is cut off by a number of tried
/// cuts, never by time: equal on every machine. Proven in practice: one chunk a stage; a model whose layers cost the
/// same (GPT-2), up to four chunks a stage at least; layers that differ, while none costs several others. What one does
/// (a head) beside layers that differ leaves too much room to prove more than short chains. The largest chunk is always
/// the least.
Split cheapest_split(const ChainCosts& costs, int stages, int chunks_per_stage);

}  // namespace smp::partition
