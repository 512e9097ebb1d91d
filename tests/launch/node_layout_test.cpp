// If these fail, a job runs on other nodes than those that its plan was priced for, or one that is right is refused.
#include "launch/plan/node_layout.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partition/job/problem.h"

namespace smp::launch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Hosts = std::vector<std::string>;

partition::ClusterOptions stated(int nodes) {
    partition::ClusterOptions cluster;
    cluster.nodes = nodes;
    return cluster;
}

std::string refusal(int nodes, const Hosts& hosts) {
    try {
        compare_nodes(stated(nodes), hosts);
    } catch (const partition::ConfigError& error) {
        return error.what();
    }
    return "";
}

TEST(NodeLayout, TheStatedNodesAreTheHosts) {
    EXPECT_EQ(compare_nodes(stated(1), Hosts{"a", "a"}), std::nullopt);
    EXPECT_EQ(compare_nodes(stated(2), Hosts{"a", "a", "b", "b"}), std::nullopt);
    EXPECT_EQ(compare_nodes(stated(4), Hosts{"d", "c", "b", "a"}), std::nullopt);
}

TEST(NodeLayout, OtherHostsThanStatedAreRefusedAndNamed) {
    EXPECT_THAT(refusal(2, {"a", "a", "a", "a"}), AllOf(HasSubstr("cluster.nodes = 2"), HasSubstr("on a (0-3);")));
    EXPECT_THAT(refusal(2, {"a", "b", "c", "d"}), HasSubstr("on a (0), b (1), c (2), d (3);"));
    EXPECT_THAT(refusal(4, {"a", "a", "b", "b"}), HasSubstr("1 on each"));
    EXPECT_THAT(refusal(2, {"a", "b", "b", "b"}),
                HasSubstr("2 on each, one host after another, and they are on a (0)"));
    EXPECT_THAT(refusal(2, {"a", "b", "a", "b"}), HasSubstr("--distribution=block"));
    EXPECT_THAT(refusal(4, {"a", "b", "a", "b"}), HasSubstr("on a (0), b (1), a (2), b (3);"));
    EXPECT_THAT(refusal(2, {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}), HasSubstr("h (7), …;"));
}

TEST(NodeLayout, WhereNothingIsStatedSeveralHostsAreANote) {
    const auto note = compare_nodes(stated(1), Hosts{"a", "b", "b"});
    ASSERT_TRUE(note);
    EXPECT_THAT(*note, AllOf(HasSubstr("on 2 hosts: a (0), b (1-2);"), HasSubstr("cluster.nodes")));
}

}  // namespace
}  // namespace smp::launch
