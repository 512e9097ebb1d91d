#include "models/tensor_rows.h"

#include <stdexcept>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "comms/communicator.h"

namespace smp::models {

void sum_over_tensor_group(const SegmentContext& context, const at::Tensor& tensor) {
    if (context.tensor_group->size() > 1) comms::all_reduce(*context.tensor_group, tensor).join();
}

namespace {

bool shards_rows(const SegmentContext& context) {
    return context.storage.optimize == partition::Optimize::memory && context.tensor_group->size() > 1;
}

}  // namespace

std::int64_t first_own_row(const SegmentContext& context, const Microbatch& microbatch) {
    if (!shards_rows(context)) return 0;
    const std::int64_t rows = microbatch.sequences * microbatch.length, ranks = context.tensor_group->size();
    if (rows % ranks != 0)
        throw std::logic_error(fmt::format("{} sequences of {} tokens cannot be cut over {} tensor ranks",
                                           microbatch.sequences, microbatch.length, ranks));
    return context.tensor_group->rank() * (rows / ranks);
}

at::Tensor gather_rows(const SegmentContext& context, const at::Tensor& own) {
    if (!shards_rows(context)) return own;
    at::Tensor all = at::empty({context.tensor_group->size() * own.size(0), own.size(1)}, own.options());
    context.tensor_group->all_gather(all, own).join();
    return all;
}

at::Tensor sum_to_own_rows(const SegmentContext& context, const at::Tensor& partial) {
    if (!shards_rows(context)) {
        sum_over_tensor_group(context, partial);
        return partial;
    }
    at::Tensor own = at::empty({partial.size(0) / context.tensor_group->size(), partial.size(1)}, partial.options());
    comms::reduce_scatter(*context.tensor_group, own, partial).join();
    return own;
}

}  // namespace smp::models
