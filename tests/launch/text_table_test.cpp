#include "launch/command/text_table.h"

#include <gtest/gtest.h>

#include "partition/foresight/memory_use.h"

namespace smp::launch {
namespace {

using partition::shown_bytes;

TEST(TextTable, NumbersToTheRightNamesToTheLeft) {
    EXPECT_EQ(text_table({{"stage", "B", "name"}, {"0", "123", "h.0"}, {"12", "4", ""}}),
              "stage    B  name\n"
              "0      123   h.0\n"
              "12       4\n");
    EXPECT_EQ(text_table({{"a", "bc"}, {"abc", "d"}}, 2),
              "a    bc\n"
              "abc  d\n");
}

TEST(TextTable, QuantitiesHaveThreeDigitsThatCount) {
    EXPECT_EQ(shown_bytes(0), "0 B");
    EXPECT_EQ(shown_bytes(1023), "1023 B");
    EXPECT_EQ(shown_bytes(1536), "1.50 KiB");
    EXPECT_EQ(shown_bytes(std::int64_t{5} << 40), "5120 GiB");
    EXPECT_EQ(shown_count(999), "999");
    EXPECT_EQ(shown_count(124.4e6), "124 M");
    EXPECT_EQ(shown_count(60.12e9), "60.1 B");
    EXPECT_EQ(shown_si(42), "42");
    EXPECT_EQ(shown_si(1e14), "100 T");
    EXPECT_EQ(shown_seconds(8.5e-7), "850 ns");
    EXPECT_EQ(shown_seconds(0.0123), "12.3 ms");
    EXPECT_EQ(shown_seconds(4.5), "4.50 s");
    EXPECT_EQ(shown_percent(0.125), "12.5 %");
    EXPECT_EQ(counted(1, "microbatch"), "1 microbatch");
    EXPECT_EQ(counted(2, "microbatch"), "2 microbatches");
    EXPECT_EQ(counted(3, "stage"), "3 stages");
}

}  // namespace
}  // namespace smp::launch
