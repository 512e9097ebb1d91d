#include "runtime/update/stage_exchange.h"

#include <ATen/ops/cat.h>

namespace smp::runtime {

namespace {

/// Sums tensors over a group, in place, as one message: the sum of each element is that of the ranks in order, however
/// many are summed together. Collective, blocking.
void sum_in_one(comms::Communicator& group, const std::vector<at::Tensor>& tensors) {
    if (tensors.empty()) return;
    std::vector<at::Tensor> flat;
    for (const at::Tensor& tensor : tensors) flat.push_back(tensor.view({-1}));
    const at::Tensor all = at::cat(flat);
    comms::all_reduce(group, all).wait();
    std::int64_t first = 0;
    for (const at::Tensor& tensor : flat) {
        at::Tensor(tensor).copy_(all.narrow(0, first, tensor.numel()));
        first += tensor.numel();
    }
}

}  // namespace

StageExchange::StageExchange(RankGroups& groups, const Stage& stage, MemoryMeter& meter, bool sharded)
    : groups_(groups),
      stage_(stage),
      meter_(meter),
      sharded_(sharded),
      shards_(*groups.data, stage.layout()),
      stale_(stage.chunks().size(), false) {}

comms::Work StageExchange::reduce_gradients(partition::ChunkId chunk) {
    const MemoryMeter::Scope scope(meter_, partition::MemoryCategory::communication);
    // As in compute actions, the tensor ranks of a stage, which run one program, meet here.
    sum_in_one(*groups_.tensor, stage_.row_gradients(chunk));
    const int section = stage_.section(chunk);
    return sharded_ ? shards_.reduce_scatter(stage_.flat_gradients(), section)
                    : shards_.all_reduce(stage_.flat_gradients(), section);
}

comms::Work StageExchange::gather_values(partition::ChunkId chunk) {
    const int section = stage_.section(chunk);
    if (!stale_[section]) return {};
    stale_[section] = false;
    const MemoryMeter::Scope scope(meter_, partition::MemoryCategory::communication);
    return shards_.gather(stage_.flat_values(), section);
}

void StageExchange::values_updated() { stale_.assign(stale_.size(), sharded_); }

}  // namespace smp::runtime
