// Sums down the columns of a matrix, in a fixed order: a block has 16 columns and kColumnLanes rows at a time; lane l
// of a column adds rows l, l + kColumnLanes, …, and the lanes are added in their order. Few columns of 16 bits and many
// rows a block, so that even a narrow matrix occupies many multiprocessors, each with many reads under way.
#pragma once

#include <cuda_runtime.h>

#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/launch.h"

namespace smp::models::kernels::cuda {

constexpr int kColumns = 16, kColumnLanes = 64, kAtOnce = 8;

/// In blocks of kColumns × kColumnLanes threads: to[k][column] += Σ over rows of what terms(sums, row, column) adds to
/// sums[k].
template <int kCount, class Terms>
__device__ void add_column_sums(float* const (&to)[kCount], const Terms& terms, Matrix shape) {
    __shared__ float lanes[kCount][kColumnLanes][kColumns];
    const std::int64_t column = std::int64_t{blockIdx.x} * kColumns + threadIdx.x;
    float sums[kCount] = {};
    if (column < shape.width) {
        std::int64_t row = threadIdx.y;
        for (; row + (kAtOnce - 1) * kColumnLanes < shape.rows; row += kAtOnce * kColumnLanes) {
            SMP_UNROLLED
            for (int i = 0; i < kAtOnce; ++i) terms(sums, row + i * kColumnLanes, column);
        }
        for (; row < shape.rows; row += kColumnLanes) terms(sums, row, column);
    }
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
