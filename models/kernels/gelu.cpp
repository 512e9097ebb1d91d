#include <utility>

#include <ATen/ops/empty_like.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/own_kernels.h"
#include "models/kernels/vector_math.h"

namespace smp::models::kernels {

namespace {

// gelu(x) = x/2 · (1 + tanh(u)) = x · s with u = √(2/π) · (x + 0.044715 x³) and s = 1 / (1 + e^(−2u)).
constexpr float kLinear = -1.5957691216057308F;  // −2 √(2/π)
constexpr float kCubic = -1.5957691216057308F * 0.044715F;

SMP_VECTORISED void gelu_loop(float* y, const float* x, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const float e = exponential(x[i] * fused(kCubic, x[i] * x[i], kLinear));
        y[i] = x[i] / (1.0F + e);
    }
}

// d gelu / dx = s + x · s (1 − s) · 2 du/dx, and 1 − s = e · s with e = e^(−2u).
SMP_VECTORISED void gelu_backward_loop(float* dy, const float* x, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const float square = x[i] * x[i];
        const float e = exponential(x[i] * fused(kCubic, square, kLinear));
        const float s = 1.0F / (1.0F + e);
        const float slope = -fused(3.0F * kCubic, square, kLinear);  // 2 du/dx
        dy[i] *= s * fused(x[i] * slope, e * s, 1.0F);
    }
}

}  // namespace

at::Tensor gelu(const at::Tensor& x) {
    if (!takes(x)) return aten::gelu(x);
    at::Tensor y = at::empty_like(x);
    float* to = y.mutable_data_ptr<float>();
    const float* from = x.const_data_ptr<float>();
    for_rows(x.numel(), 1,
             [&](std::int64_t first, std::int64_t last) { gelu_loop(to + first, from + first, last - first); });
    return y;
}

void gelu_backward(at::Tensor dy, const at::Tensor& x) {
    if (!takes(x)) return aten::gelu_backward(std::move(dy), x);
    float* gradient = dy.mutable_data_ptr<float>();
    const float* from = x.const_data_ptr<float>();
    for_rows(x.numel(), 1, [&](std::int64_t first, std::int64_t last) {
        gelu_backward_loop(gradient + first, from + first, last - first);
    });
}

}  // namespace smp::models::kernels
