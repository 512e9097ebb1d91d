#include "comms/rank_order_sum.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <ATen/ATen.h>

namespace smp::comms {

namespace {

// Two blocks of the widest accumulator stay in the first-level cache beside the inputs.
constexpr std::int64_t kBlock = 1024;

template <Reduction reduction, typename Wide, typename Narrow>
void combine_into(Wide* __restrict__ sum, const Narrow* __restrict__ term, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        const Wide value = static_cast<Wide>(term[i]);
        if constexpr (reduction == Reduction::sum)
            sum[i] += value;
        else
            sum[i] = value > sum[i] || value != value ? value : sum[i];
    }
}

template <typename Wide, typename Narrow>
void convert(Wide* __restrict__ to, const Narrow* __restrict__ from, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<Wide>(from[i]);
}

template <Reduction reduction, typename Narrow, typename Wide>
void combine_cpu(std::span<const at::Tensor> inputs, std::span<const at::Tensor> outputs) {
    const std::int64_t numel = inputs.front().numel();
    std::vector<const Narrow*> from;
    std::vector<Narrow*> to;
    for (const at::Tensor& input : inputs) from.push_back(static_cast<const Narrow*>(input.const_data_ptr()));
    for (const at::Tensor& output : outputs) to.push_back(static_cast<Narrow*>(output.data_ptr()));
    alignas(64) std::array<Wide, kBlock> sum;
    for (std::int64_t begin = 0; begin < numel; begin += kBlock) {
        const std::int64_t count = std::min(kBlock, numel - begin);
        convert(sum.data(), from.front() + begin, count);
        for (std::size_t rank = 1; rank < from.size(); ++rank)
            combine_into<reduction>(sum.data(), from[rank] + begin, count);
        for (Narrow* output : to) convert(output + begin, sum.data(), count);
    }
}

template <typename Narrow, typename Wide = Narrow>
void combine_cpu(Reduction reduction, std::span<const at::Tensor> inputs, std::span<const at::Tensor> outputs) {
    if (reduction == Reduction::sum)
        combine_cpu<Reduction::sum, Narrow, Wide>(inputs, outputs);
    else
        combine_cpu<Reduction::max, Narrow, Wide>(inputs, outputs);
}

void combine_by_aten(Reduction reduction, std::span<const at::Tensor> inputs, std::span<const at::Tensor> outputs) {
    const at::Tensor& first = inputs.front();
    const bool narrow = first.scalar_type() == at::kHalf || first.scalar_type() == at::kBFloat16;
    const auto options = outputs.front().options().dtype(narrow ? at::kFloat : first.scalar_type());
    at::Tensor sum = first.to(options, /*non_blocking=*/false, /*copy=*/true);
    for (const at::Tensor& term : inputs.subspan(1)) {
        const at::Tensor value = term.to(options);
        if (reduction == Reduction::sum)
            sum.add_(value);
        else
            at::maximum_out(sum, sum, value);
    }
    for (const at::Tensor& output : outputs) output.copy_(sum);
}

}  // namespace

bool can_be_summed(c10::ScalarType type) {
    switch (type) {
        case at::kFloat:
        case at::kDouble:
        case at::kInt:
        case at::kLong:
        case at::kHalf:
        case at::kBFloat16: return true;
        default: return false;
    }
}

void combine_in_rank_order(Reduction reduction, std::span<const at::Tensor> inputs,
                           std::span<const at::Tensor> outputs) {
    if (inputs.front().numel() == 0) return;
    if (!inputs.front().is_cpu()) return combine_by_aten(reduction, inputs, outputs);
    switch (inputs.front().scalar_type()) {
        case at::kFloat: return combine_cpu<float>(reduction, inputs, outputs);
        case at::kDouble: return combine_cpu<double>(reduction, inputs, outputs);
        case at::kInt: return combine_cpu<std::int32_t>(reduction, inputs, outputs);
        case at::kLong: return combine_cpu<std::int64_t>(reduction, inputs, outputs);
        case at::kHalf: return combine_cpu<at::Half, float>(reduction, inputs, outputs);
        case at::kBFloat16: return combine_cpu<at::BFloat16, float>(reduction, inputs, outputs);
        default: throw std::logic_error("combine_in_rank_order: dtype not checked");
    }
}

Piece piece_of(std::int64_t numel, int ranks, int rank) {
    constexpr std::int64_t kGranule = 16;  // a cache line of fp32
    const std::int64_t granules = (numel + kGranule - 1) / kGranule;
    const auto edge = [&](std::int64_t index) { return std::min(numel, granules * index / ranks * kGranule); };
    return {edge(rank), edge(rank + 1)};
}

at::Tensor view_of(const at::Tensor& tensor, Piece piece) {
    return tensor.view({-1}).narrow(0, piece.begin, piece.numel());
}

}  // namespace smp::comms
