#include "partition/job/topology.h"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>

#include "partition/job/problem.h"

namespace smp::partition {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// (rdp, pp, tp) of each rank as three digits, the notation of SageMaker's documentation.
std::vector<std::string> digits_of_ranks(const Topology& topology) {
    std::vector<std::string> all;
    for (int rank = 0; rank < topology.degrees.world(); ++rank) {
        const Coordinate at = coordinate_of(topology, rank);
        all.push_back(std::to_string(at.rdp) + std::to_string(at.pp) + std::to_string(at.tp));
    }
    return all;
}

TEST(Topology, AgreesWithTheWorkedExamplesOfSageMaker) {
    const Degrees degrees{.pp = 2, .tp = 2, .rdp = 2};
    EXPECT_THAT(digits_of_ranks(make_topology(degrees, "DPT")),
                ElementsAre("000", "001", "010", "011", "100", "101", "110", "111"));
    EXPECT_THAT(digits_of_ranks(make_topology(degrees, "PTD")),
                ElementsAre("000", "100", "001", "101", "010", "110", "011", "111"));
}

TEST(Topology, KnowsClusterAndSpread) {
    const Degrees degrees{.pp = 2, .tp = 3, .rdp = 4};
    EXPECT_EQ(make_topology(degrees, "cluster"), make_topology(degrees, "DPT"));
    EXPECT_EQ(make_topology(degrees, "spread"), make_topology(degrees, "TPD"));
    EXPECT_EQ(placement_letters(make_topology(degrees, "spread")), "TPD");
}

class EveryPlacement : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Topology, EveryPlacement, ::testing::Values("DPT", "DTP", "PDT", "PTD", "TDP", "TPD"));

TEST_P(EveryPlacement, MapsRanksToCoordinatesAndBack) {
    for (int pp = 1; pp <= 4; ++pp) {
        for (int tp = 1; tp <= 4; ++tp) {
            for (int rdp = 1; rdp <= 4; ++rdp) {
                const Topology topology = make_topology({.pp = pp, .tp = tp, .rdp = rdp}, GetParam());
                EXPECT_EQ(placement_letters(topology), GetParam());
                for (int rank = 0; rank < topology.degrees.world(); ++rank) {
                    ASSERT_EQ(rank_of(topology, coordinate_of(topology, rank)), rank);
                }
            }
        }
    }
}

TEST_P(EveryPlacement, RightmostLetterVariesFastest) {
    const Topology topology = make_topology({.pp = 3, .tp = 4, .rdp = 5}, GetParam());
    const auto entry = [&](Axis axis, int rank) {
        const Coordinate at = coordinate_of(topology, rank);
        return axis == Axis::data ? at.rdp : axis == Axis::pipeline ? at.pp : at.tp;
    };
    EXPECT_EQ(entry(topology.order[2], 1), 1);
    EXPECT_EQ(entry(topology.order[1], 1), 0);
    EXPECT_EQ(entry(topology.order[0], topology.degrees.world() - 1),
              entry(topology.order[0], topology.degrees.world() - 2));
}

TEST_P(EveryPlacement, GroupsAlongAnAxisPartitionTheWorld) {
    const Topology topology = make_topology({.pp = 3, .tp = 2, .rdp = 4}, GetParam());
    for (const Axis axis : {Axis::data, Axis::pipeline, Axis::tensor}) {
        std::set<std::vector<int>> groups;
        for (int rank = 0; rank < topology.degrees.world(); ++rank) {
            const std::vector<int> group = group_along(topology, coordinate_of(topology, rank), axis);
            EXPECT_THAT(group, ::testing::Contains(rank));
            for (std::size_t i = 0; i < group.size(); ++i) {
                const Coordinate member = coordinate_of(topology, group[i]);
                const int position = axis == Axis::data ? member.rdp : axis == Axis::pipeline ? member.pp : member.tp;
                ASSERT_EQ(position, static_cast<int>(i));
            }
            groups.insert(group);
        }
        std::vector<int> all;
        for (const auto& group : groups) all.insert(all.end(), group.begin(), group.end());
        std::sort(all.begin(), all.end());
        ASSERT_EQ(static_cast<int>(all.size()), topology.degrees.world());
        for (int rank = 0; rank < topology.degrees.world(); ++rank) EXPECT_EQ(all[rank], rank);
    }
}

TEST(Topology, RefusesOtherPlacementsBySayingWhatIsAllowed) {
    for (const char* placement : {"", "DP", "DPTT", "DDT", "dpt", "Cluster", "DPX"}) {
        try {
            make_topology({}, placement);
            FAIL() << placement;
        } catch (const ConfigError& error) {
            EXPECT_THAT(error.what(), HasSubstr("parallel.placement_strategy"));
            EXPECT_THAT(error.what(), HasSubstr("\"" + std::string(placement) + "\""));
            EXPECT_THAT(error.what(), HasSubstr("spread"));
        }
    }
    EXPECT_THROW(make_topology({.pp = 0}, "DPT"), ConfigError);
    EXPECT_THROW(coordinate_of(make_topology({}, "DPT"), 1), std::logic_error);
    EXPECT_THROW(rank_of(make_topology({}, "DPT"), {.pp = 1}), std::logic_error);
}

}  // namespace
}  // namespace smp::partition
