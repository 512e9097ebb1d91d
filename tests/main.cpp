// gtest's main, with a seed that is printed.
#include <gmock/gmock.h>

#include "tests/seed.h"

int main(int argc, char** argv) {
    testing::InitGoogleMock(&argc, argv);
    if (!testing::GTEST_FLAG(list_tests)) smp::testing::announce_seed();
    return RUN_ALL_TESTS();
}
