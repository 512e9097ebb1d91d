// How far a training has come, as one value: everything that changes from step to step and is no tensor. A run that
// starts from it, and from the tensors of the same moment, goes on as if it had not stopped.
#pragma once

#include <cstdint>
#include <optional>

#include "partition/job/precision.h"
#include "runtime/job/options.h"
#include "runtime/state/loss_scale.h"

namespace smp::runtime {

struct TrainingState {
    std::int64_t steps = 0;               // done
    std::int64_t updates = 0;             // of those that changed the weights
    std::int64_t skipped_in_a_row = 0;    // the last so many steps made no update: their gradients overflowed (fp16)
    std::int64_t samples = 0;             // trained on: where in the order of the data the next global batch begins
    std::int64_t tokens = 0;              // trained on
    std::optional<LossScale> loss_scale;  // with fp16 alone

    std::int64_t skipped_updates() const { return steps - updates; }
    /// What the loss of the step to come is multiplied by.
    double scale() const { return loss_scale ? loss_scale->value() : 1; }
    bool operator==(const TrainingState&) const = default;
};

/// Before the first step.
TrainingState first_state(const TrainingOptions& training, partition::Precision precision);

/// After a step on a global batch of `samples` sequences of `length` tokens, with its update made or skipped.
TrainingState after_step(TrainingState state, std::int64_t samples, std::int64_t length, bool updated,
                         const TrainingOptions& training);

}  // namespace smp::runtime
