#include "comms/collectives/rank_order_sum.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "comms/collectives/device_sum.h"

namespace smp::comms {

namespace {

// Two blocks of the widest accumulator stay in the first-level cache beside the inputs.
constexpr std::int64_t kBlock = 1024;

using Inputs = std::span<const void* const>;
using Outputs = std::span<void* const>;

template <Reduction reduction, typename Wide>
Wide combined(Wide so_far, Wide value) {
    if constexpr (reduction == Reduction::sum) return so_far + value;
    return value > so_far || value != value ? value : so_far;
}

template <Reduction reduction, typename Wide, typename Narrow>
void combine_into(Wide* __restrict__ sum, const Narrow* __restrict__ term, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) sum[i] = combined<reduction>(sum[i], static_cast<Wide>(term[i]));
}

template <typename Wide, typename Narrow>
void convert(Wide* __restrict__ to, const Narrow* __restrict__ from, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<Wide>(from[i]);
}

/// Two inputs, the commonest case, in one pass. An output may be an input: `omp simd` says that elements do not depend
/// on each other.
template <Reduction reduction, typename Narrow, typename Wide>
void combine_two(const Narrow* first, const Narrow* second, Narrow* output, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i)
        output[i] = static_cast<Narrow>(combined<reduction>(static_cast<Wide>(first[i]), static_cast<Wide>(second[i])));
}
template <Reduction reduction, typename Narrow, typename Wide>
void combine_two(const Narrow* first, const Narrow* second, Narrow* output, Narrow* other_output, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const auto sum =
            static_cast<Narrow>(combined<reduction>(static_cast<Wide>(first[i]), static_cast<Wide>(second[i])));
        output[i] = sum;
        other_output[i] = sum;
    }
}

template <Reduction reduction, typename Narrow, typename Wide>
void combine_cpu(Inputs inputs, Outputs outputs, std::int64_t numel) {
    const auto input = [&](std::size_t rank) { return static_cast<const Narrow*>(inputs[rank]); };
    const auto output = [&](std::size_t index) { return static_cast<Narrow*>(outputs[index]); };
    if (inputs.size() == 2 && outputs.size() == 1)
        return combine_two<reduction, Narrow, Wide>(input(0), input(1), output(0), numel);
    if (inputs.size() == 2 && outputs.size() == 2)
        return combine_two<reduction, Narrow, Wide>(input(0), input(1), output(0), output(1), numel);
    alignas(64) std::array<Wide, kBlock> sum;
    for (std::int64_t begin = 0; begin < numel; begin += kBlock) {
        const std::int64_t count = std::min(kBlock, numel - begin);
        convert(sum.data(), input(0) + begin, count);
        for (std::size_t rank = 1; rank < inputs.size(); ++rank)
            combine_into<reduction>(sum.data(), input(rank) + begin, count);
        for (std::size_t index = 0; index < outputs.size(); ++index) convert(output(index) + begin, sum.data(), count);
    }
}

template <typename Narrow, typename Wide = Narrow>
void combine_cpu(Reduction reduction, Inputs inputs, Outputs outputs, std::int64_t numel) {
    if (reduction == Reduction::sum)
        combine_cpu<Reduction::sum, Narrow, Wide>(inputs, outputs, numel);
    else
        combine_cpu<Reduction::max, Narrow, Wide>(inputs, outputs, numel);
}

NumberType number_type(c10::ScalarType type) {
    switch (type) {
        case at::kFloat: return NumberType::float32;
        case at::kDouble: return NumberType::float64;
        case at::kHalf: return NumberType::float16;
        case at::kBFloat16: return NumberType::bfloat16;
        case at::kInt: return NumberType::int32;
        case at::kLong: return NumberType::int64;
        default: throw std::logic_error("combine_in_rank_order: dtype not checked");
    }
}

/// Tensors that the n-th of so many kernels takes; none behind the last.
std::span<const at::Tensor> part_of(std::span<const at::Tensor> tensors, std::size_t n) {
    constexpr std::size_t kMost = DeviceSum::kMost;
    const std::size_t begin = std::min(n * kMost, tensors.size());
    return tensors.subspan(begin, std::min(kMost, tensors.size() - begin));
}
std::size_t kernels_for(std::span<const at::Tensor> tensors) {
    return (tensors.size() + DeviceSum::kMost - 1) / DeviceSum::kMost;
}

/// The kernel that takes the last terms writes the first results.
void combine_by_kernels(Reduction reduction, std::span<const at::Tensor> inputs, std::span<const at::Tensor> outputs) {
    const at::Tensor& first = inputs.front();
    const at::Device device = outputs.front().device();
    const c10::DeviceGuard guard(device);
    const c10::impl::VirtualGuardImpl streams(device.type());
    void* const stream = streams.getStreamNativeHandle(streams.getStream(device));
    const std::size_t readers = kernels_for(inputs), kernels = readers + kernels_for(outputs) - 1;
    at::Tensor carried;
    if (kernels > 1)
        carried = at::empty(
            {first.numel()},
            first.options().dtype(c10::isReducedFloatingType(first.scalar_type()) ? at::kFloat : first.scalar_type()));
    for (std::size_t kernel = 0; kernel < kernels; ++kernel) {
        const auto terms = part_of(inputs, kernel);
        const auto results =
            kernel + 1 < readers ? std::span<const at::Tensor>() : part_of(outputs, kernel + 1 - readers);
        DeviceSum sum{.type = number_type(first.scalar_type()),
                      .maximum = reduction == Reduction::max,
                      .input_count = static_cast<int>(terms.size()),
                      .output_count = static_cast<int>(results.size()),
                      .numel = first.numel(),
                      .so_far = kernel > 0 ? carried.const_data_ptr() : nullptr,
                      .carried = kernel + 1 < kernels ? carried.data_ptr() : nullptr,
                      .inputs = {},
                      .outputs = {}};
        for (std::size_t i = 0; i < terms.size(); ++i) sum.inputs[i] = terms[i].const_data_ptr();
        for (std::size_t i = 0; i < results.size(); ++i) sum.outputs[i] = results[i].data_ptr();
        combine_on_device(sum, stream);
    }
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

void combine_on_cpu(Reduction reduction, c10::ScalarType dtype, Inputs inputs, Outputs outputs, std::int64_t numel) {
    switch (dtype) {
        case at::kFloat: return combine_cpu<float>(reduction, inputs, outputs, numel);
        case at::kDouble: return combine_cpu<double>(reduction, inputs, outputs, numel);
        case at::kInt: return combine_cpu<std::int32_t>(reduction, inputs, outputs, numel);
        case at::kLong: return combine_cpu<std::int64_t>(reduction, inputs, outputs, numel);
        case at::kHalf: return combine_cpu<at::Half, float>(reduction, inputs, outputs, numel);
        case at::kBFloat16: return combine_cpu<at::BFloat16, float>(reduction, inputs, outputs, numel);
        default: throw std::logic_error("combine_on_cpu: dtype not checked");
    }
}

void combine_in_rank_order(Reduction reduction, std::span<const at::Tensor> inputs,
                           std::span<const at::Tensor> outputs) {
    const at::Tensor& first = inputs.front();
    if (first.numel() == 0) return;
    if (!first.is_cpu()) return combine_by_kernels(reduction, inputs, outputs);
    std::vector<const void*> from;
    std::vector<void*> to;
    for (const at::Tensor& input : inputs) from.push_back(input.const_data_ptr());
    for (const at::Tensor& output : outputs) to.push_back(output.data_ptr());
    combine_on_cpu(reduction, first.scalar_type(), from, to, first.numel());
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
