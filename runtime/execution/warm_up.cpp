#include "runtime/execution/warm_up.h"

#include <algorithm>
#include <cstddef>

#include "models/kernels/kernels.h"
#include "models/segment.h"
#include "runtime/update/world_sum.h"

namespace smp::runtime {

namespace {

using models::kernels::zeros;

/// A module alone, so that no more is kept at once than where activations are computed again.
class Module {
  public:
    Module(const partition::Plan& plan, const Stage& stage, const Stage::LocalChunk& chunk, std::size_t place)
        : stage_(stage),
          segment_(*chunk.segments[place]),
          is_first_(chunk.index == partition::ChunkId(0) && place == 0),
          is_last_(chunk.index == plan.chunks.last_id() && place + 1 == chunk.segments.size()) {}

    void run(const models::Microbatch& microbatch, bool splits_backward, models::Loss& loss) const {
        models::Stash stash;
        (void)segment_.forward(boundary(microbatch, is_first_), stash, microbatch, loss);
        if (!microbatch.training) return;
        const at::Tensor gradient = boundary(microbatch, is_last_);
        if (!splits_backward) {
            (void)segment_.backward(gradient, stash, microbatch, loss);
            return;
        }
        (void)segment_.backward_input(gradient, stash, microbatch, loss);
        segment_.backward_weight(stash, microbatch);
    }

  private:
    at::Tensor boundary(const models::Microbatch& microbatch, bool is_none) const {
        if (is_none) return {};
        return zeros({stage_.boundary_rows(microbatch.sequences, microbatch.length), stage_.hidden_width()},
                     stage_.flat_values().options());
    }

    const Stage& stage_;
    models::Segment& segment_;
    bool is_first_, is_last_;
};

}  // namespace

void warm_up(const partition::Plan& plan, const RankParts& rank, const TrainingState& state, std::int64_t sequences,
             std::int64_t length) {
    const MemoryMeter::Scope scope(rank.meter, partition::MemoryCategory::other);
    rank.meter.with_device_memory([&] {
        const at::Device device = rank.groups.device->device();
        models::Microbatch microbatch;
        microbatch.sequences = sequences;
        microbatch.length = length;
        microbatch.inputs = zeros({sequences, length}, at::TensorOptions(at::kLong).device(device));
        microbatch.targets = microbatch.inputs;
        const auto& actions = plan.training[rank.groups.at.stage()].actions;
        const bool splits_backward = std::ranges::any_of(
            actions, [](const auto& action) { return action.kind == partition::ActionKind::backward_input; });
        StepLosses losses = make_losses(1, device);
        for (const Stage::LocalChunk& chunk : rank.stage.chunks())
            for (std::size_t place = 0; place < chunk.segments.size(); ++place)
                for (const bool training : {false, true}) {
                    microbatch.training = training;
                    Module(plan, rank.stage, chunk, place)
                        .run(microbatch, splits_backward, losses.of_microbatch.front());
                }
        rank.stage.zero_gradients();
        rank.update.apply(state, losses);
    });
    rank.groups.finish("the warm-up before the first step");
}

}  // namespace smp::runtime
