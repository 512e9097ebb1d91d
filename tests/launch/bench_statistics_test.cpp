#include <gtest/gtest.h>

#include "launch/bench/statistics.h"

namespace smp::launch {
namespace {

TEST(BenchStatistics, QuartilesLieBetweenNeighbours) {
    const Spread odd = spread_of({5, 1, 3, 2, 4});
    EXPECT_EQ(odd.median, 3);
    EXPECT_EQ(odd.lower_quartile, 2);
    EXPECT_EQ(odd.upper_quartile, 4);
    EXPECT_EQ(odd.least, 1);
    EXPECT_EQ(odd.most, 5);
    EXPECT_EQ(odd.half_range(), 1);
    const Spread even = spread_of({4, 1, 3, 2});
    EXPECT_EQ(even.median, 2.5);
    EXPECT_EQ(even.lower_quartile, 1.75);
    EXPECT_EQ(even.upper_quartile, 3.25);
    EXPECT_EQ(spread_of({7}).median, 7);
    EXPECT_THROW(spread_of({}), std::logic_error);
}

/// One step that the machine has held up changes no median and no quartile of many.
TEST(BenchStatistics, AnOutlierDoesNotCount) {
    const Spread calm = spread_of({1, 2, 3, 4, 5, 6, 7, 8, 9}), disturbed = spread_of({1, 2, 3, 4, 5, 6, 7, 8, 900});
    EXPECT_EQ(calm.median, disturbed.median);
    EXPECT_EQ(calm.half_range(), disturbed.half_range());
}

}  // namespace
}  // namespace smp::launch
