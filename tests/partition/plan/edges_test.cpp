// If these fail, ranks make other communicators than the plan's messages need.
#include "partition/plan/edges.h"

#include <set>

#include <gmock/gmock.h>

#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

std::vector<std::string> names(const std::vector<Edge>& edges) {
    std::vector<std::string> list;
    for (const Edge& edge : edges) list.push_back(name_of(edge));
    return list;
}

TEST(Edges, AreThoseOnWhichThePlanSends) {
    const Plan chunked = testing::plan_of({.stages = 3, .microbatches = 3, .tied = true, .chunks_per_stage = 2});
    EXPECT_THAT(
        names(edges_of({&chunked.training})),
        ::testing::ElementsAre("activations 0 -> 1", "activations 1 -> 2", "activations 2 -> 0", "gradients 0 -> 2",
                               "gradients 1 -> 0", "gradients 2 -> 1", "tied 0 -> 2", "tied 2 -> 0"));
    EXPECT_EQ(names(edges_of({&chunked.evaluation, &chunked.sampling})),
              (std::vector<std::string>{"activations 0 -> 1", "activations 1 -> 2", "activations 2 -> 0"}));
    // Two stages with chunks send both ways on each channel: four edges.
    const Plan two = testing::plan_of({.stages = 2, .microbatches = 3, .chunks_per_stage = 2});
    EXPECT_EQ(edges_of({&two.training, &two.evaluation}).size(), 4U);
    const Plan alone = testing::plan_of({.stages = 1});
    EXPECT_THAT(edges_of({&alone.training}), ::testing::IsEmpty());
}

TEST(Edges, AreSplitOffInRoundsWhoseNumberDoesNotGrow) {
    for (int stages = 2; stages <= 24; ++stages) {
        for (const int chunks : {1, 2}) {
            const Plan plan =
                testing::plan_of({.stages = stages, .microbatches = 2, .tied = true, .chunks_per_stage = chunks});
            const auto edges = edges_of({&plan.training, &plan.evaluation});
            std::multiset<Edge> in_rounds;
            const auto rounds = disjoint_rounds(edges);
            for (const auto& round : rounds) {
                std::set<StageId> stages_of_round;
                for (const Edge& edge : round) {
                    EXPECT_TRUE(stages_of_round.insert(edge.from).second) << name_of(edge);
                    EXPECT_TRUE(stages_of_round.insert(edge.to).second) << name_of(edge);
                    in_rounds.insert(edge);
                }
            }
            EXPECT_EQ(std::vector<Edge>(in_rounds.begin(), in_rounds.end()), edges);
            // A stage has at most six edges; first come, first served needs at most twice as many rounds less one.
            EXPECT_LE(rounds.size(), 11U) << stages;
        }
    }
}

}  // namespace
}  // namespace smp::partition
