#include "partition/stages/chain_split.h"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "partition/stages/least_squares.h"
#include "partition/stages/split_bounds.h"
#include "partition/stages/split_search.h"

namespace smp::partition {
namespace {

// Of a cut, for the least rank and again for the least squares: about 20 ms in all. A target that takes long is mostly
// one that cannot be had, so that none gets all of them.
constexpr int kMostTries = 100'000;
constexpr int kMostTriesATarget = 20'000;

/// Of modules given as runs.
std::int64_t ticks_of(const ChainCosts& costs, const std::vector<std::pair<int, int>>& runs) {
    std::int64_t sum = 0;
    std::vector<int> held(costs.shared.size(), 0);
    for (const auto& [first, end] : runs) {
        for (int module = first; module < end; ++module) {
            sum += costs.module_ticks[static_cast<std::size_t>(module)];
            for (std::size_t s = 0; s < costs.shared.size(); ++s) {
                const auto& users = costs.shared[s].modules;
                if (std::binary_search(users.begin(), users.end(), module) && held[s]++ > 0) {
                    sum -= costs.shared[s].ticks;
                }
            }
        }
    }
    return sum;
}

int end_of(const ChainCosts& costs, const std::vector<int>& first_modules, std::size_t chunk) {
    return chunk + 1 < first_modules.size() ? first_modules[chunk + 1] : static_cast<int>(costs.module_ticks.size());
}

std::int64_t largest_rank(const ChainCosts& costs, const std::vector<int>& first_modules, int stages) {
    const auto ticks = rank_ticks(costs, first_modules, stages);
    return *std::max_element(ticks.begin(), ticks.end());
}

Wide sum_of_squares(const Chain& chain, const ChainCosts& costs, const std::vector<int>& first_modules) {
    Wide sum = 0;
    for (std::size_t i = 0; i < first_modules.size(); ++i) {
        const std::int64_t ticks = chain.run(first_modules[i], end_of(costs, first_modules, i));
        sum += Wide{ticks} * ticks;
    }
    return sum;
}

/// Lowers `upper`, which can be had, to the least that can; not below `lower`. attempt(target) is what can be had that
/// is at most `target`, if anything. The lower bound itself is tried first: mostly it can be had.
template <typename Number, typename Attempt>
void lower_to_least(Number lower, Number& upper, Attempt&& attempt) {
    for (Number target = lower; lower < upper; target = lower + (upper - lower) / 2) {
        if (const std::optional<Number> reached = attempt(target)) {
            upper = *reached;
        } else {
            lower = target + 1;
        }
    }
}

}  // namespace

std::int64_t ChainCosts::of(int first_module, int end_module) const {
    return ticks_of(*this, {{first_module, end_module}});
}

std::vector<std::int64_t> rank_ticks(const ChainCosts& costs, const std::vector<int>& first_modules, int stages) {
    std::vector<std::vector<std::pair<int, int>>> runs(static_cast<std::size_t>(stages));
    for (std::size_t i = 0; i < first_modules.size(); ++i) {
        runs[i % runs.size()].emplace_back(first_modules[i], end_of(costs, first_modules, i));
    }
    std::vector<std::int64_t> ticks;
    for (const auto& of_rank : runs) ticks.push_back(ticks_of(costs, of_rank));
    return ticks;
}

Split cheapest_split(const ChainCosts& costs, int stages, int chunks_per_stage) {
    const auto modules = static_cast<int>(costs.module_ticks.size());
    if (stages < 1 || chunks_per_stage < 1 || modules / stages < chunks_per_stage) {
        throw std::logic_error(fmt::format("assignment: {} modules cannot be split into {} times {} chunks", modules,
                                           stages, chunks_per_stage));
    }
    const Chain chain(costs, stages, chunks_per_stage);

    std::int64_t chunk = chain.whole();
    lower_to_least(*std::max_element(costs.module_ticks.begin(), costs.module_ticks.end()), chunk,
                   [&](std::int64_t target) -> std::optional<std::int64_t> {
                       return bounds_of(chain, target, chain.whole()) ? std::optional(target) : std::nullopt;
                   });

    Split best;
    int tries_left = kMostTries;
    const auto improves = [&](SplitQuery query) {
        query.most_tries = std::min(tries_left, kMostTriesATarget);
        SplitAnswer answer = find_split(chain, query);
        tries_left -= answer.tries;
        best.proven = best.proven && answer.complete;
        if (answer.first_modules.empty()) return false;
        best.first_modules = std::move(answer.first_modules);
        return true;
    };
    std::int64_t rank = chain.whole();
    const auto split_with_rank = [&](std::int64_t target) -> std::optional<std::int64_t> {
        const auto bounds = bounds_of(chain, chunk, target);
        if (!bounds || !improves({.bounds = *bounds})) return std::nullopt;
        return largest_rank(costs, best.first_modules, stages);
    };
    rank = split_with_rank(rank).value();
    const std::int64_t even_rank = (chain.least(0, modules) + stages - 1) / stages;
    lower_to_least(stages == 1 ? rank : std::max(chunk, even_rank), rank, split_with_rank);

    tries_left = kMostTries;
    const SplitBounds bounds = bounds_of(chain, chunk, rank).value();
    const LeastSquares least(chain, bounds);
    Wide squares = sum_of_squares(chain, costs, best.first_modules);
    lower_to_least(least.rounds_from(0, 0), squares, [&](Wide target) -> std::optional<Wide> {
        if (!improves({.bounds = bounds, .squares = &least, .most_squares = target})) return std::nullopt;
        return sum_of_squares(chain, costs, best.first_modules);
    });
    improves({.bounds = bounds, .squares = &least, .most_squares = squares, .order = CutOrder::earliest});
    return best;
}

}  // namespace smp::partition
