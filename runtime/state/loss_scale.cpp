#include "runtime/state/loss_scale.h"

#include <algorithm>

namespace smp::runtime {

LossScale first_loss_scale(const LossScaleOptions& options) {
    return {.scale = options.initial, .good_steps = 0, .forgiven = options.hysteresis, .at_minimum = 0};
}

LossScale after_step(LossScale state, bool overflowed, const LossScaleOptions& options) {
    state.at_minimum = overflowed && state.scale == options.minimum ? state.at_minimum + 1 : 0;
    if (overflowed) {
        state.good_steps = 0;
        if (state.forgiven > 0) --state.forgiven;
        if (state.forgiven == 0) state.scale = std::max(state.scale / 2, options.minimum);
    } else if (++state.good_steps == options.growth_interval) {
        state.good_steps = 0;
        state.forgiven = options.hysteresis;
        state.scale = std::min(2 * state.scale, LossScaleOptions::kMost);
    }
    return state;
}

}  // namespace smp::runtime
