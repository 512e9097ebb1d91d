// The update of a step: what gradients that have been reduced do to the weights.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/job/options.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/stage/stage.h"
#include "runtime/state/flat_layout.h"
#include "runtime/state/training_state.h"
#include "runtime/update/adamw.h"
#include "runtime/update/step_sums.h"
#include "runtime/update/world_sum.h"

namespace smp::runtime {

/// What an update came to: the same on every rank.
struct UpdateResult {
    double loss = 0;           // mean over the tokens of the global batch
    double grad_norm = 0;      // of all gradients, unscaled, before clipping
    double learning_rate = 0;  // of the update, or what it would have been
    bool updated = false;      // false: the loss or the norm is not finite, and values and moments are as before
    bool overflowed = false;   // the loss is finite and the norm is not, with a loss scale that may be to blame
    // What the stage's gradients have been updated with is what lies there, times this: on CUDA they stay as they are.
    double gradient_factor = 1;
};

class Update {
  public:
    /// `tokens`: of the global batch. Where optimizer states are `sharded`, this rank updates the shard of the flat
    /// buffers that is its own, and others theirs. `groups` and `stage` must outlive it.
    Update(RankGroups& groups, const Stage& stage, const TrainingOptions& training, bool sharded, double tokens);

    /// Sums losses and squares of gradients over the world. If both sums are finite: unscales and clips the gradients
    /// and makes update `state.updates` at the learning rate and from the loss scale of that state. Collective over the
    /// world; blocking on the CPU, on CUDA in the order of the current stream: the device decides.
    void apply(const TrainingState& state, const StepLosses& losses);
    /// What it came to, once the device has come behind it.
    UpdateResult result(const TrainingState& state) const;

    /// Where values have been rounded: what the optimizer goes on from instead. See AdamW::start_from.
    void start_from(int parameter, const at::Tensor& values) { optimizer_.start_from(parameter, values); }

    /// Parts of the flat buffers that this rank updates, and has the summed gradients of.
    const std::vector<Range>& ranges() const { return ranges_; }
    const AdamW& optimizer() const { return optimizer_; }

  private:
    /// Of an update that is made: clipping and the loss scale.
    double factor_of(const UpdateResult& made, const TrainingState& state) const;

    const RankGroups& groups_;
    const Stage& stage_;
    const TrainingOptions training_;
    const double tokens_;
    const std::vector<Range> owned_;   // the shard that this rank counts in the norm
    const std::vector<Range> ranges_;  // the same where states are sharded, else everything
    AdamW optimizer_;
    std::optional<StepSums> on_device_;  // on CUDA
    std::array<double, 2> totals_ = {};  // else: of losses and of squares
};

}  // namespace smp::runtime
