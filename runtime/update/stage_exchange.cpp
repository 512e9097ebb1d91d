#include "runtime/update/stage_exchange.h"

#include <stdexcept>
#include <vector>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

namespace smp::runtime {

StageExchange::StageExchange(RankGroups& groups, const Stage& stage, MemoryMeter& meter,
                             const partition::RankProgram& program, bool sharded)
    : groups_(groups), stage_(stage), sharded_(sharded), lane_(*groups.data) {
    const MemoryMeter::Scope scope(meter, partition::MemoryCategory::communication);
    for (const partition::BufferId id : program.buffers.ids())
        if (program.buffers[id].kind == partition::BufferKind::reduction_scratch)
            scratch_[id] = at::empty({program.buffers[id].bytes}, stage.flat_gradients().options().dtype(at::kByte));
}

void StageExchange::sum_row_gradients(const partition::Action& action) {
    const std::vector<at::Tensor> gradients = stage_.row_gradients(action.chunk);
    if (gradients.empty()) return;
    std::int64_t elements = 0;
    for (const at::Tensor& gradient : gradients) elements += gradient.numel();
    const at::Tensor all = at::empty({elements}, gradients.front().options());
    const auto for_parts = [&](const auto& copy) {
        std::int64_t first = 0;
        for (const at::Tensor& gradient : gradients) {
            copy(gradient.view({-1}), all.narrow(0, first, gradient.numel()));
            first += gradient.numel();
        }
    };
    for_parts([](const at::Tensor& gradient, const at::Tensor& part) { part.copy_(gradient); });
    comms::all_reduce(*groups_.tensor, all).join();
    for_parts([](const at::Tensor& gradient, const at::Tensor& part) { gradient.copy_(part); });
}

Range StageExchange::bucket_of(const partition::Action& action) const {
    const auto buckets = stage_.layout().buckets_of(stage_.section(action.chunk));
    const std::size_t index = action.bucket == partition::kNone ? 0 : action.bucket.index();
    if (index >= buckets.size())
        throw std::logic_error(fmt::format("{} is of no bucket of {}", name_of(action), buckets.size()));
    return buckets[index];
}

comms::Work StageExchange::begin(const partition::Action& action, std::function<comms::Work()> collective) {
    return groups_.device->is_cuda() ? collective() : lane_.add(name_of(action), std::move(collective));
}

comms::Work StageExchange::reduce_gradients(const partition::Action& action) {
    const Range bucket = bucket_of(action);
    comms::Communicator& group = *groups_.data;
    if (group.size() == 1) return {};
    // It too takes its turn: the plan counts on that where it has reductions share scratch.
    if (bucket.size() == 0) return begin(action, [] { return comms::Work(); });
    const Range piece = stage_.layout().piece(bucket, group.rank());
    const at::Tensor &flat = stage_.flat_gradients(), all = flat.narrow(0, bucket.begin, bucket.size());
    const at::Tensor scratch = action.scratch.empty() ? at::Tensor() : scratch_.at(action.scratch.front());
    if (!sharded_)
        return begin(action, [=, &group] { return comms::all_reduce(group, all, comms::Reduction::sum, scratch); });
    const at::Tensor own = flat.narrow(0, piece.begin, piece.size());
    return begin(action,
                 [=, &group] { return comms::reduce_scatter(group, own, all, comms::Reduction::sum, scratch); });
}

comms::Work StageExchange::gather_parameters(const partition::Action& action) {
    if (!are_stale_ || !gathered_.emplace(action.chunk, action.bucket).second) return {};
    const Range bucket = bucket_of(action);
    comms::Communicator& group = *groups_.data;
    if (group.size() == 1 || bucket.size() == 0) return {};
    const Range piece = stage_.layout().piece(bucket, group.rank());
    const at::Tensor &flat = stage_.flat_values(), all = flat.narrow(0, bucket.begin, bucket.size()),
                     own = flat.narrow(0, piece.begin, piece.size());
    return begin(action, [=, &group] { return group.all_gather(all, own); });
}

void StageExchange::values_updated() {
    are_stale_ = sharded_;
    gathered_.clear();
}

}  // namespace smp::runtime
