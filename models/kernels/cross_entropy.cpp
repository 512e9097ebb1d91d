#include <cmath>
#include <limits>

#include <ATen/ops/empty.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/cuda/operators.h"
#include "models/kernels/own_kernels.h"
#include "models/kernels/vector_math.h"

namespace smp::models::kernels {

namespace {

SMP_VECTORISED float row_maximum(const float* x, std::int64_t count) {
    float lanes[kLanes];
    for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
#pragma omp simd
        for (int l = 0; l < kLanes; ++l) lanes[l] = lanes[l] < x[i + l] ? x[i + l] : lanes[l];
    float most = -std::numeric_limits<float>::infinity();
    for (; i < count; ++i) most = most < x[i] ? x[i] : most;
    for (const float lane : lanes) most = most < lane ? lane : most;
    return most;
}

/// x → exp(x − maximum) in place; their sum.
SMP_VECTORISED float exponentials(float* x, float maximum, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) x[i] = exponential(x[i] - maximum);
    return vector_sum(count, [&](std::int64_t i) { return x[i]; });
}

SMP_VECTORISED void scale(float* x, float factor, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) x[i] *= factor;
}

/// Logits are never stored otherwise.
bool takes_fp32(const at::Tensor& x) { return takes(x) && storage_of(x) == Storage::fp32; }

}  // namespace

at::Tensor row_maxima(const at::Tensor& logits, std::int64_t valid) {
    if (cuda::takes(logits)) return cuda::row_maxima(logits, valid);
    if (!takes_fp32(logits)) return aten::row_maxima(logits, valid);
    const std::int64_t rows = logits.size(0), stride = logits.stride(0);
    at::Tensor maxima = at::empty({rows}, logits.options());
    float* to = maxima.mutable_data_ptr<float>();
    const float* from = logits.const_data_ptr<float>();
    for_rows(rows, valid, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t n = first; n < last; ++n) to[n] = row_maximum(from + n * stride, valid);
    });
    return maxima;
}

at::Tensor exponential_sums(const at::Tensor& logits, const at::Tensor& maxima, const at::Tensor& targets,
                            std::int64_t first, std::int64_t valid) {
    if (cuda::takes(logits)) return cuda::exponential_sums(logits, maxima, targets, first, valid);
    if (!takes_fp32(logits)) return aten::exponential_sums(logits, maxima, targets, first, valid);
    const std::int64_t rows = logits.size(0), width = logits.size(1), stride = logits.stride(0);
    at::Tensor sums = at::empty({2, rows}, logits.options());
    float *total = sums.mutable_data_ptr<float>(), *chosen = total + rows;
    float* x = logits.mutable_data_ptr<float>();
    const float* most = maxima.const_data_ptr<float>();
    const std::int64_t* target = targets.const_data_ptr<std::int64_t>();
    for_rows(rows, width, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = begin; n < end; ++n) {
            float* row = x + n * stride;
            const std::int64_t column = target[n] - first;
            chosen[n] = column >= 0 && column < valid ? row[column] - most[n] : 0;
            total[n] = exponentials(row, most[n], valid);
            std::fill(row + valid, row + width, 0.0F);
        }
    });
    return sums;
}

at::Tensor cross_entropy_gradient(const at::Tensor& exponentials, const at::Tensor& sums, const at::Tensor& targets,
                                  std::int64_t first, double scale_of_loss, at::ScalarType type) {
    if (cuda::takes(exponentials))
        return cuda::cross_entropy_gradient(exponentials, sums, targets, first, scale_of_loss, type);
    if (!takes_fp32(exponentials)) {
        aten::cross_entropy_gradient(exponentials, sums, targets, first, scale_of_loss);
        return exponentials;
    }
    const std::int64_t width = exponentials.size(1), stride = exponentials.stride(0);
    float* x = exponentials.mutable_data_ptr<float>();
    const float* total = sums.const_data_ptr<float>();
    const std::int64_t* target = targets.const_data_ptr<std::int64_t>();
    for_rows(exponentials.size(0), width, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = begin; n < end; ++n) {
            float* row = x + n * stride;
            scale(row, static_cast<float>(scale_of_loss / total[n]), width);
            const std::int64_t column = target[n] - first;
            if (column >= 0 && column < width) row[column] -= static_cast<float>(scale_of_loss);
        }
    });
    return exponentials;
}

void add_cross_entropy(const at::Tensor& sum, const at::Tensor& sums) {
    if (cuda::takes(sums)) return cuda::add_cross_entropy(sum, sums);
    *sum.mutable_data_ptr<double>() += cross_entropy_sum(sums);
}

double cross_entropy_sum(const at::Tensor& sums) {
    if (cuda::takes(sums)) {
        const at::Tensor sum = zeros({1}, sums.options().dtype(at::kDouble));
        cuda::add_cross_entropy(sum, sums);
        return *sum.cpu().const_data_ptr<double>();
    }
    if (!takes_fp32(sums)) return aten::cross_entropy_sum(sums);
    const std::int64_t rows = sums.size(1);
    const float *total = sums.const_data_ptr<float>(), *chosen = total + rows;
    double loss = 0;
    for (std::int64_t n = 0; n < rows; ++n)
        loss += std::log(static_cast<double>(total[n])) - static_cast<double>(chosen[n]);
    return loss;
}

}  // namespace smp::models::kernels
