#include "partition/stages/split_search.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <utility>

namespace smp::partition {
namespace {

std::size_t index(int i) { return static_cast<std::size_t>(i); }

struct HashCuts {
    std::size_t operator()(const std::vector<int>& cuts) const {
        std::uint64_t hash = 14695981039346656037u;
        for (const int cut : cuts) hash = (hash ^ static_cast<std::uint64_t>(cut)) * 1099511628211u;
        return hash ^ (hash >> 32);
    }
};

/// First the cuts between rounds, then rank by rank the ends of all its chunks. So a rank's cost is known at once, and
/// what the later ranks can do depends on where this rank's chunks end and on nothing else: what failed once is known.
class Search {
  public:
    Search(const Chain& chain, const SplitQuery& query)
        : chain_(chain), query_(query), bounds_(query.bounds), cuts_(index(chain.chunks()) + 1, 0) {}

    SplitAnswer run() {
        const bool found = end_round(0, 0);
        return {.first_modules = {cuts_.begin(), found ? cuts_.end() - 1 : cuts_.begin()},
                .complete = found || tries_ < query_.most_tries,
                .tries = tries_};
    }

  private:
    /// Chooses where `round` and all later ones end, then all within them. `squares`: least of the earlier rounds.
    bool end_round(int round, Wide squares) {
        const int stages = chain_.stages();
        if (round == chain_.rounds()) {
            failed_.clear();
            if (query_.squares) squares += query_.squares->rounds_from(round, chain_.modules());
            return fill_ranks(0, squares);
        }
        const int chunk = round * stages;
        const int first = cuts_[index(chunk)];
        const int even = first + (chain_.modules() - first) / (chain_.rounds() - round);
        const int least = std::max(first + stages, bounds_.earliest[index(chunk + stages)]);
        const int most = std::min(bounds_.farthest[index(chunk)][index(first)], bounds_.latest[index(chunk + stages)]);
        return try_each(least, most, even, [&](int end) {
            Wide sum = 0;
            if (query_.squares) {
                sum = squares + query_.squares->round_from(chunk, first, end);
                if (sum + query_.squares->rounds_from(round + 1, end) > query_.most_squares) return false;
            }
            cuts_[index(chunk + stages)] = end;
            return end_round(round + 1, sum);
        });
    }

    /// Chooses the chunks of `rank` and all later ones. `squares`: of all chunks chosen so far, and least of the rest.
    bool fill_ranks(int rank, Wide squares) {
        const int stages = chain_.stages();
        if (rank == stages) return true;
        std::int64_t left = 0;
        std::vector<int> state;
        for (int round = 0; round < chain_.rounds(); ++round) {
            const int first = cuts_[index(round * stages + rank)];
            left += chain_.least(first, cuts_[index((round + 1) * stages)]);
            state.push_back(first);
        }
        if (left > bounds_.ranks_from_limit[index(rank)]) return false;
        state.push_back(rank);
        const Wide slack = query_.most_squares - squares;
        const auto known = failed_.find(state);
        if (known != failed_.end() && slack <= known->second) return false;
        if (fill_rank(rank, 0, 0, squares)) return true;
        failed_.insert_or_assign(std::move(state), slack);
        return false;
    }

    /// Chooses the chunks of `rank` from `round` on, then the later ranks. `ticks`: of the rank's chunks so far.
    bool fill_rank(int rank, int round, std::int64_t ticks, Wide squares) {
        if (round == chain_.rounds()) {
            if (query_.squares) squares += query_.squares->of_unused(rank, ticks);
            return squares <= query_.most_squares && fill_ranks(rank + 1, squares);
        }
        const int chunk = round * chain_.stages() + rank;
        const int first = cuts_[index(chunk)];
        const int round_end = cuts_[index((round + 1) * chain_.stages())];
        const int later = chain_.stages() - 1 - rank;  // ranks, of which each takes a chunk of this round
        const int even = first + (round_end - first) / (later + 1);
        const int least = later == 0 ? round_end : std::max(first + 1, bounds_.earliest[index(chunk) + 1]);
        const int most = std::min({chain_.reach(first, bounds_.chunk_limit[index(chunk)]), round_end - later,
                                   bounds_.latest[index(chunk) + 1]});
        const Wide others = query_.squares ? squares - query_.squares->round_from(chunk, first, round_end) : 0;
        return try_each(least, most, even, [&](int end) {
            if (later > 0 && bounds_.farthest[index(chunk) + 1][index(end)] < round_end) return false;
            const std::int64_t run = chain_.run(first, end);
            const std::int64_t sum = ticks + run - chain_.saved(chunk, first, end, cuts_);
            if (sum + bounds_.later_rounds_cost[index(chunk)] > bounds_.rank_limit[index(rank)]) return false;
            Wide with_this = 0;
            if (query_.squares) {
                const Wide rest = later > 0 ? query_.squares->round_from(chunk + 1, end, round_end) : 0;
                with_this = others + query_.squares->of_chunk(rank, run) + rest;
                if (with_this > query_.most_squares) return false;
            }
            cuts_[index(chunk) + 1] = end;
            return fill_rank(rank, round + 1, sum, with_this);
        });
    }

    /// Whether `attempt` succeeds with a value of least…most, in the order of the query; `even` comes first or is near.
    template <typename Attempt>
    bool try_each(int least, int most, int even, Attempt&& attempt) {
        if (least > most) return false;
        const int start = query_.order == CutOrder::earliest ? least : std::clamp(even, least, most);
        const auto succeeds = [&](int value) {
            return least <= value && value <= most && tries_ < query_.most_tries && (++tries_, attempt(value));
        };
        if (succeeds(start)) return true;
        for (int step = 1; start - step >= least || start + step <= most; ++step) {
            if (succeeds(start - step) || succeeds(start + step)) return true;
        }
        return false;
    }

    const Chain& chain_;
    const SplitQuery& query_;
    const SplitBounds& bounds_;
    std::vector<int> cuts_;
    // For the present cuts between rounds: where a rank's chunks start, and with how much room for squares that failed.
    std::unordered_map<std::vector<int>, Wide, HashCuts> failed_;
    int tries_ = 0;
};

}  // namespace

SplitAnswer find_split(const Chain& chain, const SplitQuery& query) { return Search(chain, query).run(); }

}  // namespace smp::partition
