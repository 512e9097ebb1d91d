#include "runtime/execution/training_snapshot.h"

#include <span>
#include <utility>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

namespace smp::runtime {

namespace {

StateKind kind_of(Held held) {
    switch (held) {
        case Held::value:
        case Held::master: return StateKind::weight;
        case Held::first_moment: return StateKind::first_moment;
        case Held::second_moment: break;
    }
    return StateKind::second_moment;
}

const at::Tensor& buffer_of(const RankTensors& tensors, Held held) {
    return held == Held::value ? tensors.stage.flat_values() : tensors.optimizer.state(held);
}

std::vector<Shard> shards_of(const RankTensors& tensors) {
    return holdings(tensors.plan, tensors.model, tensors.stage.precision(), tensors.rank);
}

}  // namespace

Snapshot take_snapshot(const RankTensors& tensors, const TrainingState& state, const std::string& configuration) {
    Snapshot snapshot;
    snapshot.manifest.state = state;
    snapshot.manifest.plan = fmt::format("{:016x}", partition::hash_of(tensors.plan));
    snapshot.manifest.configuration = configuration;
    for (int module = 0; module < tensors.model.module_count(); ++module)
        for (const models::Parameter& parameter : tensors.model.parameters(module, 1, 0))
            if (parameter.tied_to.empty())
                snapshot.manifest.tensors.emplace_back(parameter.name, parameter.global_shape);
    // Values of 16 bits are the masters, rounded.
    const Held weights = tensors.stage.precision() == partition::Precision::fp32 ? Held::value : Held::master;
    std::vector<Shard> shards = shards_of(tensors);
    std::erase_if(shards, [&](const Shard& shard) {
        return !shard.is_owner || (shard.kind == Held::value && weights != Held::value) || runs_of(shard).empty();
    });
    std::size_t elements = 0;
    for (const Shard& shard : shards)
        for (const ShardRun& run : runs_of(shard)) elements += static_cast<std::size_t>(run.count);
    snapshot.values.reserve(elements);
    for (const Shard& shard : shards) {
        snapshot.pieces.push_back({.name = "",
                                   .tensor = shard.tensor,
                                   .kind = kind_of(shard.kind),
                                   .slice = shard.slice,
                                   .of_slice = shard.of_slice});
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
    for (const Shard& shard : shards_of(tensors)) {
        const at::Tensor values = at::zeros({shard.place.size()}, at::kFloat);
        for (const ShardRun& run : runs_of(shard))
            checkpoint.read(
                shard.tensor, kind_of(shard.kind), run.global,
                {values.data_ptr<float>() + run.place - shard.place.begin, static_cast<std::size_t>(run.count)});
        buffer_of(tensors, shard.kind).narrow(0, shard.place.begin, shard.place.size()).copy_(values);
    }
}

}  // namespace smp::runtime
