#include "launch/bench/pair_rounds.h"

#include <algorithm>

namespace smp::launch {

std::vector<PairRound> disjoint_rounds(int ranks) {
    const int seats = ranks + ranks % 2;  // with an odd number one rests in each round
    const int circle = seats - 1;
    std::vector<PairRound> rounds;
    for (int round = 0; round < circle; ++round) {
        PairRound pairs;
        const auto add = [&](int one, int other) {
            if (one < ranks && other < ranks) pairs.emplace_back(std::min(one, other), std::max(one, other));
        };
        add(round, circle);
        for (int i = 1; i < seats / 2; ++i) add((round + i) % circle, (round + circle - i) % circle);
        rounds.push_back(std::move(pairs));
    }
    return rounds;
}

std::vector<PairRound> pair_rounds(int ranks) {
    if (ranks > kMostRanksInTurn) return disjoint_rounds(ranks);
    std::vector<PairRound> rounds;
    for (int first = 0; first < ranks; ++first)
        for (int second = first + 1; second < ranks; ++second) rounds.push_back({{first, second}});
    return rounds;
}

}  // namespace smp::launch
