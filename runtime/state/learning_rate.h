// The learning rate of an update.
#pragma once

#include <cstdint>

#include "runtime/job/options.h"

namespace smp::runtime {

/// `update` counts real updates from 0. Warm-up: learning_rate·(s+1)/(w+1); then by progress (s−w)/(steps−w) down to
/// min_learning_rate along a half cosine (SGDR, Loshchilov & Hutter 2017, without restarts) or a straight line, or not
/// at all. At and after the last step: min_learning_rate (constant: learning_rate).
double learning_rate_at(const TrainingOptions& options, std::int64_t update);

}  // namespace smp::runtime
