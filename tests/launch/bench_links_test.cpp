#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/links_report.h"
#include "launch/bench/pair_rounds.h"

namespace smp::launch {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

/// Whatever else a schedule does: each pair once, and no rank twice in a round.
void expect_every_pair_once(const std::vector<PairRound>& rounds, int ranks) {
    std::set<std::pair<int, int>> pairs;
    for (const PairRound& round : rounds) {
        std::set<int> busy;
        for (const auto& [first, second] : round) {
            EXPECT_LT(first, second);
            EXPECT_GE(first, 0);
            EXPECT_LT(second, ranks);
            EXPECT_TRUE(busy.insert(first).second);
            EXPECT_TRUE(busy.insert(second).second);
            EXPECT_TRUE(pairs.emplace(first, second).second) << first << " " << second;
        }
    }
    EXPECT_EQ(pairs.size(), static_cast<std::size_t>(ranks) * (ranks - 1) / 2);
}

TEST(PairRounds, EveryPairOnceInAsFewRoundsAsThereCanBe) {
    for (int ranks = 2; ranks <= 40; ++ranks) {
        SCOPED_TRACE(ranks);
        const auto rounds = disjoint_rounds(ranks);
        EXPECT_EQ(std::ssize(rounds), ranks - 1 + ranks % 2);
        expect_every_pair_once(rounds, ranks);
        expect_every_pair_once(pair_rounds(ranks), ranks);
    }
}

TEST(PairRounds, InTurnWhereTheyAreFew) {
    EXPECT_EQ(pair_rounds(kMostRanksInTurn).size(), kMostRanksInTurn * (kMostRanksInTurn - 1) / 2U);
    EXPECT_EQ(pair_rounds(kMostRanksInTurn + 1).size(), kMostRanksInTurn + 1U);
}

/// Ranks on hosts of `a_host` ranks; what leaves or reaches host c takes a hundredfold.
Report report_of(int ranks, int a_host) {
    LinksFacts facts{.program = "p", .are_threads = false, .hosts = {}, .bytes = 1000, .repeats = 3};
    for (int rank = 0; rank < ranks; ++rank) facts.hosts.emplace_back(1, static_cast<char>('a' + rank / a_host));
    std::vector<LinkTimes> pairs;
    for (int first = 0; first < ranks; ++first)
        for (int second = first + 1; second < ranks; ++second) {
            const bool slow = (facts.hosts[first] == "c") != (facts.hosts[second] == "c");
            pairs.push_back({.first = first,
                             .second = second,
                             .latency_seconds = slow ? 1e-3 + 1e-6 * first + 1e-8 * second : 1e-5,
                             .seconds = slow ? 1e-2 : 1e-4});
        }
    return links_report(facts, pairs, {{"all_reduce", "all 4 ranks", 1e-5, 1e-3, 2000}});
}

TEST(LinksReport, NamesTheSlowestPairAndTheSlowHost) {
    const Report report = report_of(4, 1);
    EXPECT_THAT(report.remarks,
                Contains(HasSubstr(
                    "slowest pair by latency: ranks 2 and 3 (c - d), 1.00 ms, where the median of all pairs is ")));
    EXPECT_THAT(report.remarks,
                Contains(HasSubstr("slowest pair by bandwidth: ranks 0 and 2 (a - c), 100 kB/s, where")));
    EXPECT_THAT(report.remarks,
                Contains(HasSubstr("; slowest host: c, 1.00 ms to the others, where the median between hosts is")));
    EXPECT_THAT(report.remarks, Contains(HasSubstr("; slowest host: c, 100 kB/s to the others")));
    const std::string text = in_format(report, ReportFormat::text);
    EXPECT_THAT(text, HasSubstr("\n0-1         a - b        10.0 us   100 us  10.0 MB/s\n"));
    EXPECT_THAT(text, HasSubstr("\nall_reduce  all 4 ranks  10.0 us  1.00 ms  2.00 MB/s\n"));
    // Two hosts say no more than their pair.
    EXPECT_THAT(report_of(2, 1).remarks, Not(Contains(HasSubstr("slowest host"))));
}

TEST(LinksReport, OfManyPairsTheSlowestAreShownAndAllAreThere) {
    const Report report = report_of(24, 2);
    EXPECT_THAT(report.remarks,
                Contains("shown are the 28 pairs of 276 with the largest latency; --format csv has all"));
    const std::string csv = in_format(report, ReportFormat::csv);
    EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 276 + 1);
    EXPECT_EQ(
        std::count_if(report.rows.begin(), report.rows.end(), [](const ReportRow& row) { return !row.is_folded; }),
        28 + 1);
    EXPECT_THAT(report.remarks, Contains(HasSubstr("slowest host: c")));
}

}  // namespace
}  // namespace smp::launch
