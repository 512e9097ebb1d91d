#include <optional>

#include <ATen/ops/empty.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/cuda/operators.h"
#include "models/kernels/own_kernels.h"
#include "models/kernels/product.h"
#include "models/kernels/vector_math.h"

namespace smp::models::kernels {

namespace {

MatrixView view(const at::Tensor& x) { return {x.const_data_ptr(), x.stride(0), x.stride(1), storage_of(x)}; }

MatrixView transposed(const at::Tensor& x) { return {x.const_data_ptr(), x.stride(1), x.stride(0), storage_of(x)}; }

/// Cut over threads into a grid of parts; which grid does not matter for the bits.
void multiply_in_parallel(const Product& p) {
    constexpr std::int64_t kWorthAThread = 1 << 20;  // multiply-adds
    const std::int64_t threads =
        std::min<std::int64_t>(at::in_parallel_region() ? 1 : at::get_num_threads(), p.m * p.n * p.k / kWorthAThread);
    if (threads <= 1) return multiply(p);
    // Each part copies its rows of a and its columns of b: the grid for which that is least.
    std::int64_t down = 1;
    for (std::int64_t d = 2; d <= threads; ++d)
        if (threads % d == 0 && p.m / d + p.n / (threads / d) < p.m / down + p.n / (threads / down)) down = d;
    const std::int64_t across = threads / down;
    const std::int64_t rows = ((p.m + down - 1) / down + 11) / 12 * 12;
    const std::int64_t columns = ((p.n + across - 1) / across + 31) / 32 * 32;
    at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t part = begin; part < end; ++part) {
            const std::int64_t row = part / across * rows, column = part % across * columns;
            const std::int64_t m = std::min(rows, p.m - row), n = std::min(columns, p.n - column);
            if (m > 0 && n > 0) multiply(part_of(p, row, m, column, n));
        }
    });
}

/// sums[c] += Σ over the rows of a block.
SMP_VECTORISED void add_column_sums(float* sums, const float* x, std::int64_t rows, std::int64_t stride,
                                    std::int64_t columns) {
    float block[BlockReader::kColumns] = {};
    for (std::int64_t n = 0; n < rows; ++n) {
#pragma omp simd
        for (std::int64_t c = 0; c < columns; ++c) block[c] += x[n * stride + c];
    }
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) sums[c] += block[c];
}

/// dy · wᵀ in a new tensor of `type`.
at::Tensor multiply_by_transposed(const at::Tensor& dy, const at::Tensor& w, at::ScalarType type) {
    at::Tensor dx = at::empty({dy.size(0), w.size(0)}, dy.options().dtype(type));
    multiply_in_parallel({.m = dy.size(0),
                          .n = w.size(0),
                          .k = w.size(1),
                          .a = view(dy),
                          .b = transposed(w),
                          .c = dx.mutable_data_ptr(),
                          .c_stride = dx.stride(0),
                          .c_storage = storage_of(dx)});
    return dx;
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
    if (cuda::takes(x, w)) return cuda::linear(x, w, bias);
    if (!takes(x)) return aten::linear(x, w, bias);
    at::Tensor y = at::empty({x.size(0), w.size(1)}, w.options());
    std::optional<Vector> wide_bias;
    if (bias.defined()) wide_bias.emplace(bias);
    multiply_in_parallel({.m = x.size(0),
                          .n = w.size(1),
                          .k = w.size(0),
                          .a = view(x),
                          .b = view(w),
                          .c = y.mutable_data_ptr(),
                          .c_stride = y.stride(0),
                          .c_storage = storage_of(y),
                          .start = bias.defined() ? Start::bias : Start::zero,
                          .bias = wide_bias ? wide_bias->data() : nullptr});
    return y;
}

at::Tensor linear_backward_input(const at::Tensor& dy, const at::Tensor& w) {
    if (cuda::takes(dy, w)) return cuda::linear_backward_input(dy, w);
    if (!takes(dy)) return aten::linear_backward_input(dy, w);
    return multiply_by_transposed(dy, w, w.scalar_type());
}

at::Tensor logits(const at::Tensor& x, const at::Tensor& w) {
    if (cuda::takes(x, w)) return cuda::logits(x, w);
    if (!takes(x)) return aten::logits(x, w);
    return multiply_by_transposed(x, w, at::kFloat);
}

void linear_backward_weight(const at::Tensor& dw, const at::Tensor& x, const at::Tensor& dy) {
    if (cuda::takes(x, dy)) return cuda::linear_backward_weight(dw, x, dy);
    if (!takes(dy)) return aten::linear_backward_weight(dw, x, dy);
    multiply_in_parallel({.m = x.size(1),
                          .n = dy.size(1),
                          .k = x.size(0),
                          .a = transposed(x),
                          .b = view(dy),
                          .c = dw.mutable_data_ptr<float>(),
                          .c_stride = dw.stride(0),
                          .start = Start::sum});
}

void accumulate_column_sums(const at::Tensor& dbias, const at::Tensor& dy) {
    if (cuda::takes(dy)) return cuda::accumulate_column_sums(dbias, dy);
    if (!takes(dy)) return aten::accumulate_column_sums(dbias, dy);
    float* sums = dbias.mutable_data_ptr<float>();
    const std::int64_t count = dy.size(0);
    for_columns(dy.size(1), [&](std::int64_t first, std::int64_t last) {
        BlockReader blocks(elements(dy), dy.stride(0));
        for (std::int64_t n = 0; n < count; n += BlockReader::kRows) {
            const Patch patch{.rows = std::min(BlockReader::kRows, count - n), .columns = last - first};
            add_column_sums(sums + first, blocks(n, first, patch), patch.rows, blocks.stride(), patch.columns);
        }
    });
}

}  // namespace smp::models::kernels
