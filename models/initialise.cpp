#include "models/initialise.h"

#include <stdexcept>
#include <string_view>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "models/kernels/philox.h"

namespace smp::models {

namespace {

constexpr std::int64_t kBlock = 1 << 14;

/// FNV-1a, 64 bits.
std::uint64_t stream_of(std::string_view name) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

void fill_normal(float* values, const Slice& slice, double deviation, std::uint64_t seed, std::uint64_t stream) {
    at::parallel_for(0, slice.local_numel(), kBlock, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t element = slice.global_index(i);
            values[i] = element < 0 ? 0.0F : static_cast<float>(deviation * kernels::normal(seed, stream, element));
        }
    });
}

}  // namespace

void initialise(at::Tensor values, const Parameter& parameter, std::uint64_t seed) {
    const Slice& slice = parameter.slice;
    if (values.scalar_type() != at::kFloat || !values.is_contiguous() || values.numel() != slice.local_numel())
        throw std::logic_error(
            fmt::format("{} starts in a contiguous fp32 tensor of {} elements", parameter.name, slice.local_numel()));
    const at::Tensor host = values.is_cpu() ? values : at::empty(values.sizes(), at::TensorOptions().dtype(at::kFloat));
    const Initialisation& how = parameter.initialisation;
    switch (how.start) {
        case Start::zeros: host.zero_(); break;
        case Start::normal:
            fill_normal(host.mutable_data_ptr<float>(), slice, how.standard_deviation, seed,
                        stream_of(parameter.tied_to.empty() ? parameter.name : parameter.tied_to));
            break;
        case Start::ones:
            host.zero_();  // padding
            float* data = host.mutable_data_ptr<float>();
            for (const SliceRun& run : runs(slice)) std::fill_n(data + run.local, run.count, 1.0F);
            break;
    }
    if (!values.is_cpu()) values.copy_(host);
}

}  // namespace smp::models
