#include "runtime/state/training_state.h"

namespace smp::runtime {

namespace {

LossScaleOptions options_of(const TrainingOptions& training) {
    return training.loss_scale.value_or(LossScaleOptions{});
}

}  // namespace

TrainingState first_state(const TrainingOptions& training, partition::Precision precision) {
    TrainingState state;
    if (precision == partition::Precision::fp16) state.loss_scale = first_loss_scale(options_of(training));
    return state;
}

TrainingState after_step(TrainingState state, std::int64_t samples, std::int64_t length, bool updated,
                         const TrainingOptions& training) {
    ++state.steps;
    if (updated) ++state.updates;
    state.skipped_in_a_row = updated ? 0 : state.skipped_in_a_row + 1;
    state.samples += samples;
    state.tokens += samples * length;
    if (state.loss_scale) state.loss_scale = after_step(*state.loss_scale, !updated, options_of(training));
    return state;
}

}  // namespace smp::runtime
