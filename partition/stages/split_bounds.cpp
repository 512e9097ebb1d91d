#include "partition/stages/split_bounds.h"

#include <algorithm>
#include <numeric>

namespace smp::partition {
namespace {

constexpr int kPasses = 3;  // limits of chunks narrow the cuts, which narrow the limits; more passes find little more

std::size_t index(int i) { return static_cast<std::size_t>(i); }

bool uses(const ChainCosts::Shared& parameter, int first, int end) {
    const auto& modules = parameter.modules;
    const auto found = std::lower_bound(modules.begin(), modules.end(), first);
    return found != modules.end() && *found < end;
}

/// Whether some rank may hold two of the parameter's modules, in one chunk or in two, as long as no chunk is empty.
bool may_meet(const ChainCosts::Shared& parameter, int modules, int stages, int chunks) {
    const auto first_chunk = [&](int module) { return std::max(0, chunks - (modules - module)); };
    const auto last_chunk = [&](int module) { return std::min(module, chunks - 1); };
    for (std::size_t i = 0; i < parameter.modules.size(); ++i) {
        for (std::size_t k = i + 1; k < parameter.modules.size(); ++k) {
            const int least = std::max(0, first_chunk(parameter.modules[k]) - last_chunk(parameter.modules[i]));
            const int most = last_chunk(parameter.modules[k]) - first_chunk(parameter.modules[i]);
            if (most / stages * stages >= least) return true;
        }
    }
    return false;
}

/// A rank that holds only whole grains beside the first and the last module may not be able to use all of its limit.
/// False if there is too little room for the chain.
bool limit_ranks(const Chain& chain, std::int64_t largest_rank, SplitBounds& bounds) {
    const int stages = chain.stages();
    std::vector<std::int64_t> ends(index(stages), 0);  // what the first and the last module cost their ranks
    ends[0] = chain.run(0, 1);
    if (chain.modules() > 1) ends[index(stages - 1)] += chain.run(chain.modules() - 1, chain.modules());
    bounds.rank_limit.assign(index(stages), largest_rank);
    bounds.ranks_from_limit.assign(index(stages) + 1, 0);
    for (int stage = stages - 1; stage >= 0; --stage) {
        std::int64_t& limit = bounds.rank_limit[index(stage)];
        if (chain.grain() > 1) {
            const std::int64_t room = limit - ends[index(stage)];
            if (room < 0) return false;
            limit -= room % chain.grain();
        }
        bounds.ranks_from_limit[index(stage)] = bounds.ranks_from_limit[index(stage) + 1] + limit;
    }
    return chain.least(0, chain.modules()) <= bounds.ranks_from_limit[0];
}

/// Where cuts may lie if chunks keep their limits. False if there is no place left for one.
bool narrow_cuts(const Chain& chain, SplitBounds& bounds) {
    const int chunks = chain.chunks(), modules = chain.modules();
    std::vector<int>&earliest = bounds.earliest, &latest = bounds.latest;
    latest.assign(index(chunks) + 1, 0);
    earliest.assign(index(chunks) + 1, modules);
    for (int i = 0; i < chunks; ++i) {
        int first = latest[index(i)];
        // Where a chunk may cost less than the module at `first`, it has to start before it.
        while (first > i && chain.reach(first, bounds.chunk_limit[index(i)]) == first) --first;
        latest[index(i) + 1] = std::min(chain.reach(first, bounds.chunk_limit[index(i)]), modules - (chunks - 1 - i));
        if (latest[index(i) + 1] <= i) return false;
    }
    if (latest[index(chunks)] < modules) return false;
    for (int i = chunks - 1; i >= 0; --i) {
        int end = earliest[index(i) + 1];
        while (end < latest[index(i) + 1] && chain.reach_back(end, bounds.chunk_limit[index(i)]) == end) ++end;
        earliest[index(i)] = std::max(chain.reach_back(end, bounds.chunk_limit[index(i)]), i);
        if (earliest[index(i)] > latest[index(i)]) return false;
    }
    return true;
}

/// The least that a chunk between such cuts adds to its rank.
std::int64_t least_cost(const Chain& chain, const SplitBounds& bounds, int chunk) {
    std::int64_t least = chain.whole();
    const int last = std::min(bounds.latest[index(chunk)], bounds.latest[index(chunk) + 1] - 1);
    for (int first = bounds.earliest[index(chunk)]; first <= last; ++first) {
        least = std::min(least, chain.least(first, std::max(first + 1, bounds.earliest[index(chunk) + 1])));
    }
    return least;
}

void find_farthest(const Chain& chain, SplitBounds& bounds) {
    const int chunks = chain.chunks(), modules = chain.modules();
    bounds.farthest.assign(index(chunks), std::vector<int>(index(modules) + 1, -1));
    for (int i = chunks - 1; i >= 0; --i) {
        const bool last = (i + 1) % chain.stages() == 0;
        for (int first = bounds.earliest[index(i)]; first <= bounds.latest[index(i)]; ++first) {
            const int reach = std::min(chain.reach(first, bounds.chunk_limit[index(i)]), bounds.latest[index(i) + 1]);
            int& farthest = bounds.farthest[index(i)][index(first)];
            for (int end = first + 1; end <= reach; ++end) {
                farthest = std::max(farthest, last ? end : bounds.farthest[index(i) + 1][index(end)]);
            }
        }
    }
}

}  // namespace

Chain::Chain(const ChainCosts& costs, int stages, int rounds)
    : stages_(stages), rounds_(rounds), modules_(static_cast<int>(costs.module_ticks.size())) {
    runs_.resize(index(modules_) * (index(modules_) + 1));
    for (int first = 0; first < modules_; ++first) {
        std::vector<int> held(costs.shared.size(), 0);
        std::int64_t sum = 0;
        for (int end = first + 1; end <= modules_; ++end) {
            sum += costs.module_ticks[index(end) - 1];
            for (std::size_t s = 0; s < costs.shared.size(); ++s) {
                if (uses(costs.shared[s], end - 1, end) && held[s]++ > 0) sum -= costs.shared[s].ticks;
            }
            runs_[index(first) * (index(modules_) + 1) + index(end)] = sum;
        }
    }
    for (const ChainCosts::Shared& parameter : costs.shared) {
        if (may_meet(parameter, modules_, stages_, chunks())) shared_.push_back(parameter);
    }
    least_before_.assign(index(modules_) + 1, 0);
    for (int module = 0; module < modules_; ++module) {
        std::int64_t least = costs.module_ticks[index(module)];
        for (const auto& parameter : shared_) least -= uses(parameter, module, module + 1) ? parameter.ticks : 0;
        least_before_[index(module) + 1] = least_before_[index(module)] + least;
    }
    if (!shared_.empty() || modules_ < 3) return;
    grain_ = std::accumulate(costs.module_ticks.begin() + 1, costs.module_ticks.end() - 1, std::int64_t{0},
                             [](std::int64_t a, std::int64_t b) { return std::gcd(a, b); });
}

std::int64_t Chain::run(int first, int end) const { return runs_[index(first) * (index(modules_) + 1) + index(end)]; }

int Chain::reach(int first, std::int64_t limit) const {
    const auto runs = runs_.begin() + first * (std::ptrdiff_t{modules_} + 1);
    return static_cast<int>(std::upper_bound(runs + first + 1, runs + modules_ + 1, limit) - runs) - 1;
}

int Chain::reach_back(int end, std::int64_t limit) const {
    int first = end;
    while (first > 0 && run(first - 1, end) <= limit) --first;
    return first;
}

std::int64_t Chain::least(int first, int end) const { return least_before_[index(end)] - least_before_[index(first)]; }

std::int64_t Chain::saved(int chunk, int first, int end, std::span<const int> cuts) const {
    std::int64_t ticks = 0;
    for (const ChainCosts::Shared& parameter : shared_) {
        if (!uses(parameter, first, end)) continue;
        for (int earlier = chunk - stages_; earlier >= 0; earlier -= stages_) {
            if (!uses(parameter, cuts[index(earlier)], cuts[index(earlier) + 1])) continue;
            ticks += parameter.ticks;
            break;
        }
    }
    return ticks;
}

std::optional<SplitBounds> bounds_of(const Chain& chain, std::int64_t largest_chunk, std::int64_t largest_rank) {
    const int chunks = chain.chunks(), stages = chain.stages();
    SplitBounds bounds;
    if (!limit_ranks(chain, largest_rank, bounds)) return std::nullopt;
    bounds.chunk_limit.assign(index(chunks), largest_chunk);
    for (int pass = 0; pass < kPasses; ++pass) {
        if (!narrow_cuts(chain, bounds)) return std::nullopt;
        std::vector<std::int64_t> least(index(chunks));
        std::vector<std::int64_t> of_rank(index(stages), 0);
        bounds.later_rounds_cost.assign(index(chunks), 0);
        for (int i = chunks - 1; i >= 0; --i) {
            least[index(i)] = least_cost(chain, bounds, i);
            bounds.later_rounds_cost[index(i)] = of_rank[index(i % stages)];
            of_rank[index(i % stages)] += least[index(i)];
        }
        for (int i = 0; i < chunks; ++i) {
            const std::int64_t others = of_rank[index(i % stages)] - least[index(i)];
            bounds.chunk_limit[index(i)] =
                std::min(bounds.chunk_limit[index(i)], bounds.rank_limit[index(i % stages)] - others);
        }
    }
    if (!narrow_cuts(chain, bounds)) return std::nullopt;
    find_farthest(chain, bounds);
    return bounds;
}

}  // namespace smp::partition
