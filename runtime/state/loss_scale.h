// Dynamic loss scaling (Micikevicius et al., "Mixed Precision Training", 2018, section 3.2): the loss is multiplied by
// a power of two, so that small gradients are not lost in fp16, and gradients are divided by it again, which is exact.
#pragma once

#include <cstdint>

#include "runtime/job/options.h"

namespace smp::runtime {

/// Where the scale stands between two steps.
struct LossScale {
    std::int64_t scale = 1;       // of the step to come: a power of two
    std::int64_t good_steps = 0;  // since the last overflow or doubling
    std::int64_t forgiven = 0;    // overflows until one halves the scale, that one included
    std::int64_t at_minimum = 0;  // the last so many steps overflowed with the least scale that there is

    double value() const { return static_cast<double>(scale); }
    bool operator==(const LossScale&) const = default;
};

LossScale first_loss_scale(const LossScaleOptions& options);

/// After a step whose gradients were all finite, or not. As in Megatron-LM: the scale doubles after `growth_interval`
/// good steps in a row. Overflows are forgiven until there have been `hysteresis` of them since the last doubling; that
/// one and all that follow halve it, down to `minimum`.
LossScale after_step(LossScale state, bool overflowed, const LossScaleOptions& options);

}  // namespace smp::runtime
