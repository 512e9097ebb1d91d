#include "launch/config/nearest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace smp::testing {
namespace {

using launch::edit_distance;
using ::testing::ElementsAre;

TEST(Nearest, Distances) {
    EXPECT_EQ(edit_distance("", ""), 0);
    EXPECT_EQ(edit_distance("", "abc"), 3);
    EXPECT_EQ(edit_distance("steps", "setps"), 1);  // neighbours swapped
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
    EXPECT_EQ(edit_distance("ca", "abc"), 3);  // swapped neighbours are not edited again
}

RC_GTEST_PROP(Nearest, DistanceIsSymmetricAndBounded, (const std::string& a, const std::string& b)) {
    const int distance = edit_distance(a, b);
    RC_ASSERT(distance == edit_distance(b, a));
    RC_ASSERT((distance == 0) == (a == b));
    RC_ASSERT(distance <= static_cast<int>(std::max(a.size(), b.size())));
    RC_ASSERT(distance >= std::abs(static_cast<int>(a.size()) - static_cast<int>(b.size())));
}

TEST(Nearest, AllAtTheLeastDistanceUpToThree) {
    EXPECT_THAT(launch::nearest("beta3", {"alpha", "beta1", "beta2"}), ElementsAre("beta1", "beta2"));
    EXPECT_THAT(launch::nearest("x", {"a", "b", "c", "d", "ee"}), ElementsAre("a", "b", "c"));
    EXPECT_EQ(launch::suggestion({"a", "b", "c"}), "did you mean a, b or c?");
    EXPECT_EQ(launch::suggestion({"a"}), "did you mean a?");
}

}  // namespace
}  // namespace smp::testing
