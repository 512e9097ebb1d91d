#include "runtime/execution/warm_up.h"

#include <algorithm>
#include <vector>

#include "models/kernels/kernels.h"
#include "models/segment.h"
#include "runtime/update/world_sum.h"

namespace smp::runtime {

namespace {

using models::kernels::zeros;

class Chunk {
  public:
    Chunk(const partition::Plan& plan, const Stage& stage, const Stage::LocalChunk& chunk)
        : stage_(stage),
          chunk_(chunk),
          is_first_(chunk.index == partition::ChunkId(0)),
          is_last_(chunk.index == plan.chunks.last_id()) {}

    void run(const models::Microbatch& microbatch, bool splits_backward, models::Loss& loss) const {
        const auto& segments = chunk_.segments;
        std::vector<models::Stash> stashes(segments.size());
        at::Tensor hidden = boundary(microbatch, is_first_);
        for (std::size_t i = 0; i < segments.size(); ++i)
            hidden = segments[i]->forward(hidden, stashes[i], microbatch, loss);
        if (!microbatch.training) return;
        at::Tensor gradient = boundary(microbatch, is_last_);
        for (std::size_t i = segments.size(); i-- > 0;)
            gradient = splits_backward ? segments[i]->backward_input(gradient, stashes[i], microbatch, loss)
                                       : segments[i]->backward(gradient, stashes[i], microbatch, loss);
        if (!splits_backward) return;
        for (std::size_t i = segments.size(); i-- > 0;) segments[i]->backward_weight(stashes[i], microbatch);
    }

  private:
    at::Tensor boundary(const models::Microbatch& microbatch, bool is_none) const {
        if (is_none) return {};
        return zeros({stage_.boundary_rows(microbatch.sequences, microbatch.length), stage_.hidden_width()},
                     stage_.flat_values().options());
    }

    const Stage& stage_;
    const Stage::LocalChunk& chunk_;
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
            for (const bool training : {false, true}) {
                microbatch.training = training;
                Chunk(plan, rank.stage, chunk).run(microbatch, splits_backward, losses.of_microbatch.front());
            }
        rank.stage.zero_gradients();
        rank.update.apply(state, losses);
    });
    rank.groups.finish("the warm-up before the first step");
}

}  // namespace smp::runtime
