// If these fail, a log does not say where its ranks are, or a person is not told (or told wrongly) what slows them.
#include "runtime/machine/rank_place.h"

#include <numeric>
#include <stdexcept>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "runtime/machine/processors.h"

namespace smp::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Ranks of one host with eight cores, each with the cores it may use.
std::vector<RankPlace> on_one_host(const std::vector<std::vector<int>>& cores, int threads = 1) {
    std::vector<RankPlace> places;
    for (const auto& own : cores)
        places.push_back({.rank = static_cast<int>(places.size()),
                          .host = "node1",
                          .process = 100 + static_cast<int>(places.size()),
                          .device = "cpu",
                          .coordinate = "pp 0, tp 0, rdp 0",
                          .cores = own,
                          .host_cores = 8,
                          .threads = threads});
    return places;
}

std::vector<int> range(int first, int last) {
    std::vector<int> numbers(static_cast<std::size_t>(last - first + 1));
    std::iota(numbers.begin(), numbers.end(), first);
    return numbers;
}

RC_GTEST_PROP(RankPlace, ComesBackFromItsText, ()) {
    const auto word = rc::gen::container<std::string>(rc::gen::inRange('!', '~'));
    RankPlace place{.rank = *rc::gen::inRange(0, 100000),
                    .host = *word,
                    .process = *rc::gen::inRange(1, 1 << 30),
                    .device = *word,
                    .coordinate = *word,
                    .cores = range(3, *rc::gen::inRange(3, 80)),
                    .host_cores = *rc::gen::inRange(1, 500),
                    .threads = *rc::gen::inRange(1, 500),
                    .openmp = *word};
    if (*rc::gen::arbitrary<bool>()) place.quota = *rc::gen::inRange(1, 10000) / 7.0;
    RC_ASSERT(place_of_text(to_text(place)) == place);
}

TEST(RankPlace, HereIsThisProcess) {
    const RankPlace here = place_here({.rank = 3, .host = "a", .device = "cpu", .coordinate = "", .threads = 2});
    EXPECT_EQ(here.process, ::getpid());
    EXPECT_EQ(here.cores, allowed_cores());
    EXPECT_EQ(here.rank, 3);
    EXPECT_EQ(here.threads, 2);
    EXPECT_THROW(place_of_text("no place"), std::logic_error);
}

TEST(RankPlace, IsOneLineForAPersonAndSoIsANode) {
    auto places = on_one_host({range(0, 3), {4, 6}}, 2);
    EXPECT_EQ(described(places[1]),
              "rank 1 on node1: process 101, device cpu, cores 4,6 of 8, 2 threads, "
              "pp 0, tp 0, rdp 0");
    places.push_back(places.front());
    places.back().rank = 2;
    places.back().host = "node2";
    const auto nodes = nodes_of(places);
    ASSERT_EQ(nodes.size(), 2U);
    EXPECT_EQ(described(nodes[0]), "node node1: ranks 0-1 in 2 processes, cores 0-4,6 of 8, 4 threads");
    EXPECT_EQ(described(nodes[1]), "node node2: rank 2 in 1 process, cores 0-3 of 8, 2 threads");
}

TEST(WhatSlows, NothingWhereRanksHaveCoresOfTheirOwnOrAllOfThem) {
    EXPECT_THAT(what_slows(on_one_host({range(0, 3), range(4, 7)}, 4)), IsEmpty());
    EXPECT_THAT(what_slows(on_one_host({range(0, 7), range(0, 7)}, 4)), IsEmpty());
    // More ranks than cores, unbound: asked for.
    EXPECT_THAT(what_slows(on_one_host(std::vector(16, range(0, 7)))), IsEmpty());
    EXPECT_THAT(what_slows(on_one_host({{}, {}}, 4)), IsEmpty());
}

TEST(WhatSlows, FewerCoresThanThreads) {
    EXPECT_THAT(what_slows(on_one_host({{0}, {1}}, 4)),
                ElementsAre(AllOf(HasSubstr("rank 0 on node1 computes with 4 threads on 1 core (cores 0 of 8)"),
                                  HasSubstr("cluster.threads_per_rank"))));
    EXPECT_THAT(what_slows(on_one_host({range(0, 7)}, 9)), ElementsAre(HasSubstr("9 threads on 8 cores")));
}

TEST(WhatSlows, RanksThatShareCoresByBinding) {
    EXPECT_THAT(what_slows(on_one_host({{0}, {2}, {2}, {3}})),
                ElementsAre(HasSubstr("ranks 1-2 on node1 compute with 2 threads on 1 core (cores 2 of 8)")));
    // Each has enough, all together have not.
    EXPECT_THAT(what_slows(on_one_host(std::vector(4, range(0, 2)))),
                ElementsAre(HasSubstr("ranks 0-3 on node1 compute with 4 threads on 3 cores (cores 0-2 of 8)")));
}

TEST(WhatSlows, OpenMpThatPlacesRanksOnTheSameCores) {
    auto places = on_one_host({{0}, {0}, range(4, 7)});
    for (RankPlace& place : places) place.openmp = "OMP_PROC_BIND=close";
    EXPECT_THAT(what_slows(places), ElementsAre(AllOf(HasSubstr("OMP_PROC_BIND=close"), HasSubstr("ranks 0-1 on node1"),
                                                      HasSubstr("from core 0 on"))));
    EXPECT_THAT(what_slows(std::span(places).subspan(1)), IsEmpty());
}

TEST(WhatSlows, AControlGroupsQuotaUnderTheThreads) {
    auto places = on_one_host({range(0, 7), range(0, 7)}, 2);
    places[1].quota = 4;
    EXPECT_THAT(what_slows(places), IsEmpty());
    places[0].quota = 1.5;
    EXPECT_THAT(what_slows(places), ElementsAre(AllOf(HasSubstr("ranks 0-1 on node1 compute with 4 threads"),
                                                      HasSubstr("the time of 1.5 cores"))));
}

}  // namespace
}  // namespace smp::runtime
