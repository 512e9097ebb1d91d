// Combinations of several settings such that every two settings meet in every pair of their values: far fewer than all
// combinations.
#pragma once

#include <algorithm>
#include <cstddef>
#include <random>
#include <set>
#include <tuple>
#include <vector>

namespace smp::testing {

/// Each row has one value (0 … sizes[f] − 1) a setting. Every pair of values of every two settings is in a row. Greedy:
/// each row is the best of some random ones that begin with a pair still to come. The same rows for the same sizes.
inline std::vector<std::vector<int>> pairwise(const std::vector<int>& sizes) {
    using Pair = std::tuple<std::size_t, int, std::size_t, int>;  // setting, value; a later setting, value
    std::set<Pair> missing;
    for (std::size_t f = 0; f < sizes.size(); ++f)
        for (std::size_t g = f + 1; g < sizes.size(); ++g)
            for (int a = 0; a < sizes[f]; ++a)
                for (int b = 0; b < sizes[g]; ++b) missing.insert({f, a, g, b});
    const auto pairs_of = [](const std::vector<int>& row) {
        std::vector<Pair> pairs;
        for (std::size_t f = 0; f < row.size(); ++f)
            for (std::size_t g = f + 1; g < row.size(); ++g) pairs.emplace_back(f, row[f], g, row[g]);
        return pairs;
    };
    std::mt19937 random(1);
    std::vector<std::vector<int>> rows;
    while (!missing.empty()) {
        const auto [f, a, g, b] = *missing.begin();
        std::vector<int> best;
        std::ptrdiff_t most = -1;
        for (int attempt = 0; attempt < 50; ++attempt) {
            std::vector<int> row;
            for (const int size : sizes) row.push_back(static_cast<int>(random() % static_cast<unsigned>(size)));
            row[f] = a;
            row[g] = b;
            const auto pairs = pairs_of(row);
            const auto covered = std::ranges::count_if(pairs, [&](const Pair& pair) { return missing.contains(pair); });
            if (covered > most) {
                most = covered;
                best = row;
            }
        }
        for (const Pair& pair : pairs_of(best)) missing.erase(pair);
        rows.push_back(std::move(best));
    }
    return rows;
}

}  // namespace smp::testing
