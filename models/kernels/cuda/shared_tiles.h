// Tiles of 16-bit elements in shared memory, and a warp's products with them: what attention on tensor cores is made
// of. A warp has 16 rows; sums [16, n] and left factors lie over its lanes as tensor_cores.h says.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "models/kernels/cuda/attention_head.h"
#include "models/kernels/cuda/launch.h"
#include "models/kernels/cuda/stored.h"
#include "models/kernels/cuda/tensor_cores.h"

namespace smp::models::kernels::cuda {

/// This lane's first row, and its first column, of sums and of a left factor.
__device__ inline int lane_row() { return static_cast<int>(threadIdx.x) / 4; }
__device__ inline int lane_column() { return static_cast<int>(threadIdx.x) % 4 * 2; }

/// Where run `run` of row `row` lies in a tile: the runs of a row are permuted by its number, so that one run of eight
/// neighbouring rows lies in all banks.
template <int kWidth>
__device__ int place(int row, int run) {
    return row * kWidth + (run ^ (row % 8)) * kRunLength;
}

/// tile [kRows, kWidth] = rows from `first` on, zeros behind the last row and column; not yet there.
template <int kWidth, int kRows, int kWarps, class T>
__device__ void fill_ahead(std::uint16_t* tile, const Rows<T>& rows, int first) {
    constexpr int kRuns = kWidth / kRunLength;
    SMP_ROLLED
    for (int i = static_cast<int>(threadIdx.y * kWarp + threadIdx.x); i < kRows * kRuns; i += kWarps * kWarp) {
        const int row = i / kRuns, run = i % kRuns;
        const bool is_there = first + row < rows.length && run * kRunLength < rows.width;
        copy_ahead(tile + place<kWidth>(row, run),
                   is_there ? rows.data + std::int64_t{first + row} * rows.stride + run * kRunLength : rows.data,
                   is_there);
    }
}

/// This warp's rows from `first` on, as left factors.
template <int kWidth, class T>
__device__ void load_left(std::uint32_t (&left)[kWidth / 16][4], const Rows<T>& rows, int first) {
    SMP_UNROLLED
    for (int step = 0; step < kWidth / 16; ++step) {
        SMP_UNROLLED
        for (int part = 0; part < 4; ++part) {
            const int row = first + lane_row() + part % 2 * 8;
            const int column = 16 * step + lane_column() + part / 2 * 8;
            const T* from = rows.data + row * rows.stride + column;
            left[step][part] =
                row < rows.length && column < rows.width ? *reinterpret_cast<const std::uint32_t*>(from) : 0;
        }
    }
}

/// This warp's rows from `first` on = sums · factor.
template <int kWidth, class T>
__device__ void store_rows(const Rows<T>& to, int first, const float (&sums)[kWidth / 8][4],
                           const float (&factors)[2]) {
    SMP_UNROLLED
    for (int half = 0; half < 2; ++half) {
        const int row = first + lane_row() + 8 * half;
        if (row >= to.length) continue;
        T* begin = const_cast<T*>(to.data) + row * to.stride + lane_column();
        SMP_UNROLLED
        for (int c = 0; c < kWidth / 8; ++c) {
            if (8 * c >= to.width) continue;
            *reinterpret_cast<std::uint32_t*>(begin + 8 * c) =
                pair_of<T>(sums[c][2 * half] * factors[half], sums[c][2 * half + 1] * factors[half]);
        }
    }
}

/// sums [16, kRows] += left [16, kWidth] · tileᵀ.
template <class T, int kWidth, int kBlocks>
__device__ void multiply_by_rows(float (&sums)[kBlocks][4], const std::uint32_t (&left)[kWidth / 16][4],
                                 const std::uint16_t* tile) {
    const int lane = static_cast<int>(threadIdx.x);
    SMP_UNROLLED
    for (int block = 0; block < kBlocks; ++block) {
        SMP_UNROLLED
        for (int step = 0; step < kWidth / 32; ++step) {
            std::uint32_t right[4];
            load_matrices(right, tile + place<kWidth>(8 * block + lane % 8, 4 * step + lane / 8));
            multiply_add<T>(sums[block], left[2 * step], right[0], right[1]);
            multiply_add<T>(sums[block], left[2 * step + 1], right[2], right[3]);
        }
    }
}

/// Likewise, left being rows of another tile: for where registers do not suffice.
template <class T, int kWidth, int kBlocks>
__device__ void multiply_by_rows(float (&sums)[kBlocks][4], const std::uint16_t* left_tile, int first_row,
                                 const std::uint16_t* tile) {
    const int lane = static_cast<int>(threadIdx.x);
    SMP_ROLLED
    for (int step = 0; step < kWidth / 32; ++step) {
        std::uint32_t left[2][4];
        SMP_UNROLLED
        for (int i = 0; i < 2; ++i)
            load_matrices(left[i], left_tile + place<kWidth>(first_row + lane % 16, 4 * step + 2 * i + lane / 16));
        SMP_UNROLLED
        for (int block = 0; block < kBlocks; ++block) {
            std::uint32_t right[4];
            load_matrices(right, tile + place<kWidth>(8 * block + lane % 8, 4 * step + lane / 8));
            multiply_add<T>(sums[block], left[0], right[0], right[1]);
            multiply_add<T>(sums[block], left[1], right[2], right[3]);
        }
    }
}

/// sums [16, kWidth] += factors [16, kRows], rounded, · tile.
template <class T, int kWidth, int kBlocks>
__device__ void multiply_by_columns(float (&sums)[kWidth / 8][4], const float (&factors)[kBlocks][4],
                                    const std::uint16_t* tile) {
    const int lane = static_cast<int>(threadIdx.x);
    SMP_UNROLLED
    for (int step = 0; step < kBlocks / 2; ++step) {
        const float(&a)[4] = factors[2 * step], (&b)[4] = factors[2 * step + 1];
        const std::uint32_t left[4] = {pair_of<T>(a[0], a[1]), pair_of<T>(a[2], a[3]), pair_of<T>(b[0], b[1]),
                                       pair_of<T>(b[2], b[3])};
        SMP_UNROLLED
        for (int c = 0; c < kWidth / 8; c += 2) {
            std::uint32_t right[4];
            load_transposed(right, tile + place<kWidth>(16 * step + lane % 16, c + lane / 16));
            multiply_add<T>(sums[c], left, right[0], right[1]);
            multiply_add<T>(sums[c + 1], left, right[2], right[3]);
        }
    }
}

/// Tiles of kRows rows from `begin` to `end` pass through two buffers: fetch(buffer, first row) copies one ahead, and
/// when it is there use(buffer, first row) works with it, while the next one comes. What was copied before is there
/// too.
template <int kRows, class Fetch, class Use>
__device__ void through_tiles(int begin, int end, const Fetch& fetch, const Use& use) {
    fetch(0, begin);
    end_group_of_copies();
    for (int now = 0; begin < end; begin += kRows, now = 1 - now) {
        if (begin + kRows < end) fetch(1 - now, begin + kRows);
        end_group_of_copies();  // of none, in the end
        await_all_but_last_group();
        __syncthreads();
        use(now, begin);
        __syncthreads();
    }
}

}  // namespace smp::models::kernels::cuda
