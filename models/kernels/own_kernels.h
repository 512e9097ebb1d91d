// Which tensors the own kernels take, and how their rows are shared out over threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

namespace smp::models::kernels {

/// fp32 on the CPU. Everything else goes to the ATen twins.
inline bool takes(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

/// f(first, last) over runs of rows of `width` elements, in parallel; each row must be computed by itself, so that its
/// bits do not depend on the runs.
template <class F>
void for_rows(std::int64_t rows, std::int64_t width, const F& f) {
    constexpr std::int64_t kWorthAThread = 1 << 14;  // elements
    at::parallel_for(0, rows, std::max<std::int64_t>(1, kWorthAThread / std::max<std::int64_t>(width, 1)), f);
}

/// f(first, last) over blocks of columns, in parallel, for sums down the columns: each column by itself.
template <class F>
void for_columns(std::int64_t columns, const F& f) {
    constexpr std::int64_t kBlock = 128;
    at::parallel_for(0, (columns + kBlock - 1) / kBlock, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t block = begin; block < end; ++block)
            f(block * kBlock, std::min(columns, (block + 1) * kBlock));
    });
}

}  // namespace smp::models::kernels
