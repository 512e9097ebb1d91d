#include <optional>
#include <vector>

#include <ATen/ops/empty_like.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/cuda/operators.h"
#include "models/kernels/dropout_mask.h"
#include "models/kernels/own_kernels.h"
#include "models/kernels/vector_math.h"

namespace smp::models::kernels {

namespace {

/// y = residual + mask · (branch + bias); no mask: 1, no bias: 0.
SMP_VECTORISED void add_row(float* y, const float* residual, const float* branch, const float* bias, const float* mask,
                            std::int64_t width) {
    if (bias != nullptr && mask != nullptr) {
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) y[i] = fused(mask[i], branch[i] + bias[i], residual[i]);
    } else if (bias != nullptr) {
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) y[i] = residual[i] + (branch[i] + bias[i]);
    } else if (mask != nullptr) {
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) y[i] = fused(mask[i], branch[i], residual[i]);
    } else {
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) y[i] = residual[i] + branch[i];
    }
}

SMP_VECTORISED void scale_row(float* y, const float* x, const float* mask, std::int64_t width) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] * mask[i];
}

/// f(buffers, row, its mask) over rows of a [N, width] tensor, with buffers of each thread's own; the mask is null
/// without dropout.
template <class MakeBuffers, class F>
void for_masked_rows(std::int64_t rows, std::int64_t width, const DropoutKey& key, const MakeBuffers& make_buffers,
                     const F& f) {
    const DropoutMask dropout = dropout_mask(key);
    for_rows(rows, width, [&](std::int64_t first, std::int64_t last) {
        auto buffers = make_buffers();
        if (key.probability == 0) {
            for (std::int64_t n = first; n < last; ++n) f(buffers, n, nullptr);
            return;
        }
        std::vector<float> mask(static_cast<std::size_t>(width));
        for (std::int64_t n = first; n < last; ++n) {
            const std::int64_t row = key.first_row + n;
            fill_dropout_row(mask.data(), dropout, static_cast<std::uint64_t>(key.first_sequence + row / key.length),
                             static_cast<std::uint32_t>(row % key.length), width);
            f(buffers, n, mask.data());
        }
    });
}

}  // namespace

at::Tensor add_residual(const at::Tensor& residual, const at::Tensor& branch, const at::Tensor& bias,
                        const DropoutKey& key) {
    if (cuda::takes(residual)) return cuda::add_residual(residual, branch, bias, key);
    if (!takes(residual)) return aten::add_residual(residual, branch, bias, key);
    const std::int64_t rows = residual.size(0), width = residual.size(1);
    at::Tensor y = at::empty_like(residual);
    std::optional<Vector> b;
    if (bias.defined()) b.emplace(bias);
    struct Buffers {
        RunReader past, from;
        RunWriter to;
    };
    const auto buffers = [&] {
        return Buffers{{elements(residual), width}, {elements(branch), width}, {mutable_elements(y), width}};
    };
    for_masked_rows(rows, width, key, buffers, [&](Buffers& own, std::int64_t n, const float* mask) {
        add_row(own.to.begin(n * width), own.past(n * width, width), own.from(n * width, width),
                b ? b->data() : nullptr, mask, width);
        own.to.end(width);
    });
    return y;
}

at::Tensor dropout_backward(const at::Tensor& dy, const DropoutKey& key) {
    if (key.probability == 0) return dy;
    if (cuda::takes(dy)) return cuda::dropout_backward(dy, key);
    if (!takes(dy)) return aten::dropout_backward(dy, key);
    const std::int64_t width = dy.size(1);
    at::Tensor dx = at::empty_like(dy);
    struct Buffers {
        RunReader from;
        RunWriter to;
    };
    const auto buffers = [&] { return Buffers{{elements(dy), width}, {mutable_elements(dx), width}}; };
    for_masked_rows(dy.size(0), width, key, buffers, [&](Buffers& own, std::int64_t n, const float* mask) {
        scale_row(own.to.begin(n * width), own.from(n * width, width), mask, width);
        own.to.end(width);
    });
    return dx;
}

}  // namespace smp::models::kernels
