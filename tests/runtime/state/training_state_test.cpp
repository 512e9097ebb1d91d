// If these fail, a run that goes on from a saved state counts, or scales, otherwise than one that never stopped.
#include "runtime/state/training_state.h"

#include <gtest/gtest.h>

namespace smp::runtime {
namespace {

TrainingOptions options() {
    TrainingOptions training;
    training.loss_scale = LossScaleOptions{.initial = 16, .growth_interval = 2, .hysteresis = 1, .minimum = 1};
    return training;
}

TEST(TrainingState, StartsFromNothing) {
    EXPECT_EQ(first_state(options(), partition::Precision::fp32), TrainingState{});
    EXPECT_EQ(first_state(options(), partition::Precision::bf16).scale(), 1);
    EXPECT_EQ(first_state(options(), partition::Precision::fp16).scale(), 16);
}

TEST(TrainingState, CountsStepsUpdatesAndWhatWasTrainedOn) {
    TrainingState state = first_state(options(), partition::Precision::fp16);
    for (const bool updated : {true, false, false, true}) state = after_step(state, 6, 40, updated, options());
    EXPECT_EQ(state.steps, 4);
    EXPECT_EQ(state.updates, 2);
    EXPECT_EQ(state.skipped_updates(), 2);
    EXPECT_EQ(state.skipped_in_a_row, 0);
    EXPECT_EQ(state.samples, 24);
    EXPECT_EQ(state.tokens, 24 * 40);
    EXPECT_EQ(state.scale(), 4);
}

TEST(TrainingState, CountsSkippedUpdatesInARow) {
    TrainingState state = first_state(options(), partition::Precision::fp16);
    std::vector<std::int64_t> in_a_row;
    for (const bool updated : {false, false, true, false}) {
        state = after_step(state, 1, 1, updated, options());
        in_a_row.push_back(state.skipped_in_a_row);
    }
    EXPECT_EQ(in_a_row, (std::vector<std::int64_t>{1, 2, 0, 1}));
}

}  // namespace
}  // namespace smp::runtime
