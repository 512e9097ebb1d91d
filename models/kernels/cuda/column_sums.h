// Sums down the columns of a matrix, in a fixed order: a block has 32 columns and kColumnLanes rows at a time; lane l
// of a column adds rows l, l + kColumnLanes, …, and the lanes are added in their order.
#pragma once

#include <cuda_runtime.h>

#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/launch.h"

namespace smp::models::kernels::cuda {

constexpr int kColumnLanes = 16;

/// In blocks of kWarp × kColumnLanes threads, one for 32 columns: to[k][column] += Σ over rows of what
/// terms(sums, row, column) adds to sums[k].
template <int kCount, class Terms>
__device__ void add_column_sums(float* const (&to)[kCount], const Terms& terms, Matrix shape) {
    __shared__ float lanes[kCount][kColumnLanes][kWarp];
    const std::int64_t column = std::int64_t{blockIdx.x} * kWarp + threadIdx.x;
    float sums[kCount] = {};
    if (column < shape.width)
        for (std::int64_t row = threadIdx.y; row < shape.rows; row += kColumnLanes) terms(sums, row, column);
    for (int k = 0; k < kCount; ++k) lanes[k][threadIdx.y][threadIdx.x] = sums[k];
    __syncthreads();
    if (threadIdx.y != 0 || column >= shape.width) return;
    for (int k = 0; k < kCount; ++k) {
        float sum = 0;
        for (int lane = 0; lane < kColumnLanes; ++lane) sum += lanes[k][lane][threadIdx.x];
        to[k][column] += sum;
    }
}

}  // namespace smp::models::kernels::cuda
