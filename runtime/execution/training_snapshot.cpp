#include "runtime/execution/training_snapshot.h"

#include <span>
#include <utility>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "runtime/checkpoint/pieces.h"

namespace smp::runtime {

namespace {

const at::Tensor& buffer_of(const RankTensors& tensors, Held held) {
    return held == Held::value ? tensors.stage.flat_values() : tensors.optimizer.state(held);
}

}  // namespace

Snapshot take_snapshot(const RankTensors& tensors, const TrainingState& state, const std::string& configuration) {
    Snapshot snapshot;
    snapshot.manifest.state = state;
    snapshot.manifest.plan = fmt::format("{:016x}", partition::hash_of(tensors.plan));
    snapshot.manifest.configuration = configuration;
    snapshot.manifest.tensors = tensors_of(tensors.model);
    const auto shards = written_shards(tensors.plan, tensors.model, tensors.stage.precision(), tensors.rank);
    std::size_t elements = 0;
    for (const Shard& shard : shards)
        for (const ShardRun& run : runs_of(shard)) elements += static_cast<std::size_t>(run.count);
    snapshot.values.reserve(elements);
    for (const Shard& shard : shards) {
        snapshot.pieces.push_back(piece_of(shard));
        const at::Tensor here = buffer_of(tensors, shard.kind).narrow(0, shard.place.begin, shard.place.size()).cpu();
        const auto* values = here.const_data_ptr<float>();
        for (const ShardRun& run : runs_of(shard)) {
            const auto* first = values + run.place - shard.place.begin;
            snapshot.values.insert(snapshot.values.end(), first, first + run.count);
        }
    }
    return snapshot;
}

void restore(const RankTensors& tensors, Checkpoint& checkpoint) {
    for (const Shard& shard : holdings(tensors.plan, tensors.model, tensors.stage.precision(), tensors.rank)) {
        const at::Tensor values = at::zeros({shard.place.size()}, at::kFloat);
        for (const ShardRun& run : runs_of(shard))
            checkpoint.read(
                shard.tensor, kind_of(shard.kind), run.global,
                {values.data_ptr<float>() + run.place - shard.place.begin, static_cast<std::size_t>(run.count)});
        buffer_of(tensors, shard.kind).narrow(0, shard.place.begin, shard.place.size()).copy_(values);
    }
}

}  // namespace smp::runtime
