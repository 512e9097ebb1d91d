#include "runtime/state/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace smp::runtime {

double learning_rate_at(const TrainingOptions& options, std::int64_t update) {
    const double peak = options.learning_rate;
    const double floor = minimum_learning_rate(options);
    const std::int64_t warmup = options.warmup_steps;
    if (update < warmup) return peak * static_cast<double>(update + 1) / static_cast<double>(warmup + 1);

    const std::int64_t decay_steps = options.steps - warmup;
    const double progress =
        decay_steps > 0 ? std::min(1.0, static_cast<double>(update - warmup) / static_cast<double>(decay_steps)) : 1.0;
    switch (options.schedule) {
        case LearningRateSchedule::constant: return peak;
        case LearningRateSchedule::linear: return floor + (1 - progress) * (peak - floor);
        case LearningRateSchedule::cosine:
            return floor + 0.5 * (1 + std::cos(std::numbers::pi * progress)) * (peak - floor);
    }
    return peak;
}

}  // namespace smp::runtime
