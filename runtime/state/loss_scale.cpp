#include "runtime/state/loss_scale.h"

#include <algorithm>

namespace smp::runtime {

void LossScale::update(bool overflowed) {
    if (overflowed) {
        good_steps_ = 0;
        if (forgiven_ > 0) --forgiven_;
        if (forgiven_ == 0) scale_ = std::max(scale_ / 2, options_.minimum);
    } else if (++good_steps_ == options_.growth_interval) {
        good_steps_ = 0;
        forgiven_ = options_.hysteresis;
        scale_ = std::min(2 * scale_, LossScaleOptions::kMost);
    }
}

}  // namespace smp::runtime
