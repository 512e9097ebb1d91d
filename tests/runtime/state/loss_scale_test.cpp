// The loss scale from step to step.
#include "runtime/state/loss_scale.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace smp::runtime {
namespace {

using ::testing::ElementsAre;

/// The scale after each step; 1: the step overflowed.
std::vector<double> scales(const LossScaleOptions& options, const std::vector<int>& overflows) {
    LossScale state = first_loss_scale(options);
    std::vector<double> values;
    for (const int overflowed : overflows) {
        state = after_step(state, overflowed != 0, options);
        values.push_back(state.value());
    }
    return values;
}

TEST(LossScale, StartsAsSaid) {
    EXPECT_EQ(first_loss_scale({}).value(), 65536);
    EXPECT_EQ(first_loss_scale({.initial = 8}).value(), 8);
}

TEST(LossScale, DoublesAfterGoodStepsInARow) {
    EXPECT_THAT(scales({.initial = 8, .growth_interval = 3}, {0, 0, 0, 0, 0, 0}), ElementsAre(8, 8, 16, 16, 16, 32));
    // An overflow starts the count again, forgiven or not.
    EXPECT_THAT(scales({.initial = 8, .growth_interval = 3}, {0, 0, 1, 0, 0, 0}), ElementsAre(8, 8, 8, 8, 8, 16));
}

TEST(LossScale, HalvesOnceOverflowsAreNoLongerForgiven) {
    EXPECT_THAT(scales({.initial = 64, .hysteresis = 1}, {1, 1, 0, 1}), ElementsAre(32, 16, 16, 8));
    // Good steps in between do not forgive: only a doubling does.
    EXPECT_THAT(scales({.initial = 64, .growth_interval = 2, .hysteresis = 2}, {1, 0, 1, 1, 0, 0, 1, 1}),
                ElementsAre(64, 64, 32, 16, 16, 32, 32, 16));
}

TEST(LossScale, StaysInItsBounds) {
    EXPECT_THAT(scales({.initial = 8, .hysteresis = 1, .minimum = 4}, {1, 1, 1}), ElementsAre(4, 4, 4));
    const double most = static_cast<double>(LossScaleOptions::kMost);
    EXPECT_THAT(scales({.initial = LossScaleOptions::kMost, .growth_interval = 1}, {0, 0}), ElementsAre(most, most));
}

}  // namespace
}  // namespace smp::runtime
