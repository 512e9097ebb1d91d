#include "runtime/update/update.h"

#include <array>
#include <cmath>

#include "runtime/state/learning_rate.h"
#include "runtime/update/gradient_norm.h"
#include "runtime/update/world_sum.h"

namespace smp::runtime {

Update::Update(comms::Communicator& world, const partition::Coordinate& at, const Stage& stage,
               const TrainingOptions& training, bool sharded, double tokens)
    : world_(world),
      at_(at),
      stage_(stage),
      training_(training),
      tokens_(tokens),
      owned_(stage.layout().owned(at.rdp)),
      ranges_(updated_ranges(stage.layout(), at.rdp, sharded)),
      optimizer_(stage, training, ranges_) {}

UpdateResult Update::apply(const TrainingState& state, std::span<const models::Loss> losses) {
    const at::Tensor& gradients = stage_.flat_gradients();
    const std::array sums = {counted_losses(losses, at_), sum_of_squares(gradients, stage_.counted(), owned_)};
    const auto totals = sum_over_world(world_, sums);

    UpdateResult result;
    result.loss = totals[0] / tokens_;
    result.grad_norm = std::sqrt(totals[1]) / state.scale();  // exact, since the scale is a power of two
    result.learning_rate = learning_rate_at(training_, state.updates);
    result.updated = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
    result.overflowed = !result.updated && std::isfinite(result.loss) && state.loss_scale.has_value();
    if (!result.updated) return result;

    const double factor = clip_factor(result.grad_norm, training_.gradient_clip_norm) / state.scale();
    optimizer_.step(state.updates + 1, result.learning_rate, factor);
    return result;
}

}  // namespace smp::runtime
