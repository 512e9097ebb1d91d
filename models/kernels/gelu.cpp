
#include <ATen/ops/empty_like.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/cuda/operators.h"
#include "models/kernels/gelu_formula.h"
#include "models/kernels/own_kernels.h"
#include "models/kernels/vector_math.h"

namespace smp::models::kernels {

namespace {

SMP_VECTORISED void gelu_loop(float* y, const float* x, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const float e = exponential(x[i] * fused(kGeluCubic, x[i] * x[i], kGeluLinear));
        y[i] = x[i] / (1.0F + e);
    }
}

/// dx may be dy.
SMP_VECTORISED void gelu_backward_loop(float* dx, const float* dy, const float* x, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const float square = x[i] * x[i];
        const float e = exponential(x[i] * fused(kGeluCubic, square, kGeluLinear));
        const float s = 1.0F / (1.0F + e);
        const float slope = -fused(3.0F * kGeluCubic, square, kGeluLinear);  // 2 du/dx
        dx[i] = dy[i] * (s * fused(x[i] * slope, e * s, 1.0F));
    }
}

}  // namespace

at::Tensor gelu(const at::Tensor& x) {
    if (cuda::takes(x)) return cuda::gelu(x);
    if (!takes(x)) return aten::gelu(x);
    at::Tensor y = at::empty_like(x);
    for_rows(x.numel(), 1, [&](std::int64_t begin, std::int64_t end) {
        RunReader from(elements(x), kRunElements);
        RunWriter to(mutable_elements(y), kRunElements);
        for_runs(begin, end, [&](std::int64_t first, std::int64_t count) {
            gelu_loop(to.begin(first), from(first, count), count);
            to.end(count);
        });
    });
    return y;
}

void gelu_backward(const at::Tensor& dy, const at::Tensor& x) {
    if (cuda::takes(x)) return cuda::gelu_backward(dy, x);
    if (!takes(x)) return aten::gelu_backward(dy, x);
    for_rows(x.numel(), 1, [&](std::int64_t begin, std::int64_t end) {
        RunReader from(elements(x), kRunElements), up(elements(dy), kRunElements);
        RunWriter to(mutable_elements(dy), kRunElements);
        for_runs(begin, end, [&](std::int64_t first, std::int64_t count) {
            gelu_backward_loop(to.begin(first), up(first, count), from(first, count), count);
            to.end(count);
        });
    });
}

}  // namespace smp::models::kernels
