#include <cmath>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/cuda/operators.h"
#include "models/kernels/own_kernels.h"
#include "models/kernels/vector_math.h"

namespace smp::models::kernels {

namespace {

struct Row {
    std::int64_t width = 0;
    const float* x = nullptr;
    float mean = 0, rstd = 0;
};

SMP_VECTORISED Row normalise_row(float* y, const float* x, const float* gain, const float* bias, std::int64_t width,
                                 double epsilon) {
    const auto count = static_cast<float>(width);
    const float mean = vector_sum(width, [&](std::int64_t i) { return x[i]; }) / count;
    const float variance = vector_sum(width, [&](std::int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / count;
    const auto rstd = static_cast<float>(1 / std::sqrt(static_cast<double>(variance) + epsilon));
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) y[i] = fused((x[i] - mean) * rstd, gain[i], bias[i]);
    return {.width = width, .x = x, .mean = mean, .rstd = rstd};
}

/// With n = (x − mean) · rstd and g = ȳ · gain: x̄ = rstd · (g − mean(g) − n · mean(g · n)), plus the residual's
/// gradient.
SMP_VECTORISED void row_gradient(float* dx, const float* dy, const Row& row, const float* gain, const float* residual) {
    const float* x = row.x;
    const float mean = row.mean, rstd = row.rstd;
    const auto count = static_cast<float>(row.width);
    const float plain = vector_sum(row.width, [&](std::int64_t i) { return dy[i] * gain[i]; }) / count;
    const float along =
        vector_sum(row.width, [&](std::int64_t i) { return dy[i] * gain[i] * ((x[i] - mean) * rstd); }) / count;
    if (residual != nullptr) {
#pragma omp simd
        for (std::int64_t i = 0; i < row.width; ++i)
            dx[i] = fused(rstd, fused(-along, (x[i] - mean) * rstd, fused(dy[i], gain[i], -plain)), residual[i]);
    } else {
#pragma omp simd
        for (std::int64_t i = 0; i < row.width; ++i)
            dx[i] = rstd * fused(-along, (x[i] - mean) * rstd, fused(dy[i], gain[i], -plain));
    }
}

/// Down the columns of a block of rows.
SMP_VECTORISED void add_weight_gradients(float* dgain, float* dbias, const float* dy, const float* x, const float* mean,
                                         const float* rstd, std::int64_t rows, std::int64_t stride,
                                         std::int64_t columns) {
    float gains[BlockReader::kColumns] = {}, biases[BlockReader::kColumns] = {};
    for (std::int64_t n = 0; n < rows; ++n) {
        const float *g = dy + n * stride, *v = x + n * stride;
        const float m = mean[n], r = rstd[n];
#pragma omp simd
        for (std::int64_t c = 0; c < columns; ++c) {
            gains[c] = fused(g[c], (v[c] - m) * r, gains[c]);
            biases[c] += g[c];
        }
    }
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) {
        dgain[c] += gains[c];
        dbias[c] += biases[c];
    }
}

}  // namespace

Normalised layer_norm(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& bias, double epsilon) {
    if (cuda::takes(x)) return cuda::layer_norm(x, gain, bias, epsilon);
    if (!takes(x)) return aten::layer_norm(x, gain, bias, epsilon);
    const std::int64_t rows = x.size(0), width = x.size(1);
    Normalised result{at::empty_like(x), at::empty({rows}, x.options().dtype(at::kFloat)),
                      at::empty({rows}, x.options().dtype(at::kFloat))};
    float* mean = result.mean.mutable_data_ptr<float>();
    float* rstd = result.rstd.mutable_data_ptr<float>();
    const Vector g(gain), b(bias);
    for_rows(rows, width, [&](std::int64_t first, std::int64_t last) {
        RunReader from(elements(x), width);
        RunWriter to(mutable_elements(result.y), width);
        for (std::int64_t n = first; n < last; ++n) {
            const Row row =
                normalise_row(to.begin(n * width), from(n * width, width), g.data(), b.data(), width, epsilon);
            to.end(width);
            mean[n] = row.mean;
            rstd[n] = row.rstd;
        }
    });
    return result;
}

at::Tensor layer_norm_backward_input(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean,
                                     const at::Tensor& rstd, const at::Tensor& gain, const at::Tensor& residual) {
    if (cuda::takes(x)) return cuda::layer_norm_backward_input(dy, x, mean, rstd, gain, residual);
    if (!takes(x)) return aten::layer_norm_backward_input(dy, x, mean, rstd, gain, residual);
    const std::int64_t width = x.size(1);
    at::Tensor dx = at::empty_like(x);
    const float *m = mean.const_data_ptr<float>(), *r = rstd.const_data_ptr<float>();
    const Vector g(gain);
    for_rows(x.size(0), width, [&](std::int64_t first, std::int64_t last) {
        RunReader up(elements(dy), width), from(elements(x), width);
        RunReader past(residual.defined() ? elements(residual) : ConstElements{}, width);
        RunWriter to(mutable_elements(dx), width);
        for (std::int64_t n = first; n < last; ++n) {
            row_gradient(to.begin(n * width), up(n * width, width),
                         {.width = width, .x = from(n * width, width), .mean = m[n], .rstd = r[n]}, g.data(),
                         residual.defined() ? past(n * width, width) : nullptr);
            to.end(width);
        }
    });
    return dx;
}

void layer_norm_backward_weight(const at::Tensor& dgain, const at::Tensor& dbias, const at::Tensor& dy,
                                const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd) {
    if (cuda::takes(x)) return cuda::layer_norm_backward_weight(dgain, dbias, dy, x, mean, rstd);
    if (!takes(x)) return aten::layer_norm_backward_weight(dgain, dbias, dy, x, mean, rstd);
    const std::int64_t rows = x.size(0), width = x.size(1);
    float *gains = dgain.mutable_data_ptr<float>(), *biases = dbias.mutable_data_ptr<float>();
    const float *m = mean.const_data_ptr<float>(), *r = rstd.const_data_ptr<float>();
    for_columns(width, [&](std::int64_t first, std::int64_t last) {
        BlockReader up(elements(dy), width), from(elements(x), width);
        for (std::int64_t n = 0; n < rows; n += BlockReader::kRows) {
            const Patch patch{.rows = std::min(BlockReader::kRows, rows - n), .columns = last - first};
            add_weight_gradients(gains + first, biases + first, up(n, first, patch), from(n, first, patch), m + n,
                                 r + n, patch.rows, up.stride(), patch.columns);
        }
    });
}

}  // namespace smp::models::kernels
