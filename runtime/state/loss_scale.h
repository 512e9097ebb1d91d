// Dynamic loss scaling (Micikevicius et al., "Mixed Precision Training", 2018, section 3.2): the loss is multiplied by
// a power of two, so that small gradients are not lost in fp16, and gradients are divided by it again, which is exact.
#pragma once

#include <cstdint>

#include "runtime/job/options.h"

namespace smp::runtime {

/// The scale from step to step, as in Megatron-LM: it doubles after `growth_interval` good steps in a row. Overflows
/// are forgiven until there have been `hysteresis` of them since the last doubling; that one and all that follow halve
/// it, down to `minimum`.
class LossScale {
  public:
    explicit LossScale(const LossScaleOptions& options)
        : options_(options), scale_(options.initial), forgiven_(options.hysteresis) {}

    /// Of the step to come.
    double value() const { return static_cast<double>(scale_); }
    /// After a step whose gradients were all finite, or not.
    void update(bool overflowed);

  private:
    LossScaleOptions options_;
    std::int64_t scale_;
    std::int64_t good_steps_ = 0;  // since the last overflow or doubling
    std::int64_t forgiven_;        // overflows until one halves the scale, that one included
};

}  // namespace smp::runtime
