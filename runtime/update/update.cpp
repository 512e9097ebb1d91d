#include "runtime/update/update.h"

#include <cmath>

#include "runtime/state/learning_rate.h"
#include "runtime/state/norm_block.h"
#include "runtime/update/gradient_norm.h"

namespace smp::runtime {

Update::Update(RankGroups& groups, const Stage& stage, const TrainingOptions& training, bool sharded, double tokens)
    : groups_(groups),
      stage_(stage),
      training_(training),
      tokens_(tokens),
      owned_(stage.layout().owned(groups.at.rdp)),
      ranges_(updated_ranges(stage.layout(), groups.at.rdp, sharded)),
      optimizer_(stage, training, ranges_) {
    if (groups.device->is_cuda()) on_device_.emplace(*groups.everyone, *groups.device);
}

void Update::apply(const TrainingState& state, const StepLosses& losses) {
    const at::Tensor& gradients = stage_.flat_gradients();
    if (on_device_) {
        const cuda::StepRule rule{.tokens = tokens_, .scale = state.scale(), .max_norm = training_.gradient_clip_norm};
        const auto* const decision = on_device_->decide({.losses = groups_.at.tp == 0 ? losses.slots : at::Tensor(),
                                                         .gradients = gradients,
                                                         .counted = stage_.counted(),
                                                         .owned = owned_},
                                                        rule);
        return optimizer_.step_on_cuda(state.updates + 1, learning_rate_at(training_, state.updates), decision);
    }
    const std::array sums = {counted_losses(losses.of_microbatch, groups_.at),
                             sum_of_squares(gradients, stage_.counted(), owned_)};
    const auto totals = sum_over_world(*groups_.world, sums);
    totals_ = {totals[0], totals[1]};
    const UpdateResult made = result(state);
    if (!made.updated) return;
    optimizer_.step(state.updates + 1, made.learning_rate, factor_of(made, state));
}

UpdateResult Update::result(const TrainingState& state) const {
    const auto [loss, squares] = on_device_ ? on_device_->totals() : totals_;
    UpdateResult result;
    result.loss = loss / tokens_;
    result.grad_norm = std::sqrt(squares) / state.scale();  // exact, since the scale is a power of two
    result.learning_rate = learning_rate_at(training_, state.updates);
    result.updated = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
    result.overflowed = !result.updated && std::isfinite(result.loss) && state.loss_scale.has_value();
    if (on_device_ && result.updated) result.gradient_factor = factor_of(result, state);
    return result;
}

double Update::factor_of(const UpdateResult& made, const TrainingState& state) const {
    return clip_factor(made.grad_norm, training_.gradient_clip_norm) / state.scale();
}

}  // namespace smp::runtime
