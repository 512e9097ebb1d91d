#include "partition/stages/least_squares.h"

#include <algorithm>

namespace smp::partition {
namespace {

constexpr std::int64_t kMostGrains = 16;  // in the mean module

std::size_t index(int i) { return static_cast<std::size_t>(i); }

/// Puts modules of one size on the cheapest chunk that has room, one by one, which is best if they may come in any
/// order. What a module adds to the squares grows with what the chunk has; the price of a full rank is the difference
/// between the dearest place that was taken and its own places: between its last one taken and its next one, so that
/// neither leaving out the one nor taking the other pays.
std::vector<std::int64_t> rank_prices(const Chain& chain, const SplitBounds& bounds) {
    const int stages = chain.stages(), chunks = chain.chunks(), modules = chain.modules();
    std::vector<std::int64_t> prices(index(stages), 0);
    // A grain is a layer where layers are alike; a common divisor that is far smaller says nothing and takes for ever.
    const std::int64_t whole = chain.least(0, modules), grain = chain.grain();
    const bool is_a_layer = whole <= kMostGrains * modules * grain;
    const std::int64_t unit = grain == 0 || is_a_layer ? grain : whole / modules;
    // With one chunk a rank the limits of chunks say it all; a rank that shares may cost less than its chunks one by
    // one.
    if (chain.rounds() == 1 || stages == 1 || unit == 0 || chain.ranks_share()) return prices;

    std::vector<std::int64_t> ticks(index(chunks), unit), rank_ticks(index(stages), 0);
    ticks.front() = chain.run(0, 1);
    ticks.back() = chain.run(modules - 1, modules);
    std::int64_t left = chain.least(0, modules);
    for (int i = 0; i < chunks; ++i) {
        rank_ticks[index(i % stages)] += ticks[index(i)];
        left -= ticks[index(i)];
    }
    const std::vector<std::int64_t> least = ticks;
    std::int64_t dearest = 0;
    for (; left >= unit; left -= unit) {
        int cheapest = -1;
        for (int i = 0; i < chunks; ++i) {
            if (ticks[index(i)] + unit > bounds.chunk_limit[index(i)]) continue;
            if (rank_ticks[index(i % stages)] + unit > bounds.rank_limit[index(i % stages)]) continue;
            if (cheapest < 0 || ticks[index(i)] < ticks[index(cheapest)]) cheapest = i;
        }
        if (cheapest < 0) break;
        dearest = ticks[index(cheapest)];
        ticks[index(cheapest)] += unit;
        rank_ticks[index(cheapest % stages)] += unit;
    }
    for (int rank = 0; rank < stages; ++rank) {
        if (rank_ticks[index(rank)] + unit <= bounds.rank_limit[index(rank)]) continue;
        std::int64_t next = dearest, last = 0;
        for (int i = rank; i < chunks; i += stages) {
            if (ticks[index(i)] + unit <= bounds.chunk_limit[index(i)]) next = std::min(next, ticks[index(i)]);
            if (ticks[index(i)] > least[index(i)]) last = std::max(last, ticks[index(i)] - unit);
        }
        prices[index(rank)] = std::max(std::int64_t{0}, 2 * dearest - next - last);
    }
    return prices;
}

}  // namespace

LeastSquares::LeastSquares(const Chain& chain, const SplitBounds& bounds)
    : limits_(bounds.rank_limit), prices_(rank_prices(chain, bounds)), tables_(index(chain.chunks())) {
    const int stages = chain.stages(), rounds = chain.rounds();
    for (int i = chain.chunks() - 1; i >= 0; --i) {
        const int round_end = (i / stages + 1) * stages;
        Table& table = tables_[index(i)];
        table = {.first = bounds.earliest[index(i)],
                 .end = bounds.earliest[index(round_end)],
                 .ends = bounds.latest[index(round_end)] - bounds.earliest[index(round_end)] + 1};
        const int firsts = bounds.latest[index(i)] - table.first + 1;
        table.squares.assign(index(firsts) * index(table.ends), kNone);
        for (int f = 0; f < firsts; ++f) {
            const int first = table.first + f;
            const auto lower = [&](int end, Wide sum) {
                Wide& best = table.squares[index(f) * index(table.ends) + index(end - table.end)];
                best = std::min(best, sum);
            };
            const int reach = std::min(chain.reach(first, bounds.chunk_limit[index(i)]), bounds.latest[index(i) + 1]);
            for (int cut = std::max(first + 1, bounds.earliest[index(i) + 1]); cut <= reach; ++cut) {
                const Wide square = of_chunk(i % stages, chain.run(first, cut));
                if (i + 1 == round_end) {
                    lower(cut, square);
                    continue;
                }
                for (int end = table.end; end < table.end + table.ends; ++end) {
                    lower(end, square + round_from(i + 1, cut, end));
                }
            }
        }
    }
    rounds_.assign(index(rounds) + 1, std::vector<Wide>(index(chain.modules()) + 1, kNone));
    Wide& limits_at_prices = rounds_[index(rounds)][index(chain.modules())] = 0;
    for (int rank = 0; rank < stages; ++rank) limits_at_prices -= of_unused(rank, 0);
    for (int round = rounds - 1; round >= 0; --round) {
        const int chunk = round * stages;
        for (int first = bounds.earliest[index(chunk)]; first <= bounds.latest[index(chunk)]; ++first) {
            Wide& best = rounds_[index(round)][index(first)];
            for (int end = bounds.earliest[index(chunk + stages)]; end <= bounds.latest[index(chunk + stages)]; ++end) {
                best = std::min(best, round_from(chunk, first, end) + rounds_from(round + 1, end));
            }
        }
    }
}

Wide LeastSquares::round_from(int chunk, int first, int end) const {
    const Table& table = tables_[index(chunk)];
    return table.squares[index(first - table.first) * index(table.ends) + index(end - table.end)];
}

Wide LeastSquares::rounds_from(int round, int first) const { return rounds_[index(round)][index(first)]; }

}  // namespace smp::partition
