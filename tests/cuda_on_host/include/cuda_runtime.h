// Stands in for CUDA's header where a .cu file is compiled for the host (tests/cuda_on_host): what our kernels use of
// the language, a CUDA thread being a fiber of cuda_on_host.h. Nothing else is there, so that using more is an error.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/cuda_on_host/cuda_on_host.h"
#include "tests/cuda_on_host/warp_tiles.h"

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
// The blocks of a grid run one after another, in one thread.
#define __shared__ static thread_local

using cudaStream_t = void*;
using dim3 = smp::testing::cuda_on_host::Extent;
namespace cuda_on_host = smp::testing::cuda_on_host;

#define threadIdx (cuda_on_host::place().thread)
#define blockIdx (cuda_on_host::place().block)

inline void __syncthreads() { cuda_on_host::wait_for_block(); }
inline void __syncwarp() { cuda_on_host::exchange_in_warp(0xFFFFFFFFU, 0, 0); }
inline int __syncthreads_or(int predicate) { return cuda_on_host::any_of_block(predicate != 0) ? 1 : 0; }

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
    static_assert(sizeof(T) <= sizeof(std::uint64_t));
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = cuda_on_host::exchange_in_warp(mask, bits, lane_mask);
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

enum cudaError_t { cudaSuccess };
inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t stream) {
    cuda_on_host::in_stream(stream, [=] { std::memset(data, value, bytes); });
    return cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t /*error*/) { return "no error"; }

/// Blocks and threads take turns, so this is one step.
inline unsigned long long atomicAdd(unsigned long long* sum, unsigned long long term) {
    const unsigned long long before = *sum;
    *sum += term;
    return before;
}

inline long long __double_as_longlong(double value) {
    long long bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}
inline double __longlong_as_double(long long bits) {
    double value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}
inline float __int_as_float(int bits) {
    float value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}
// NOLINTEND(bugprone-reserved-identifier)
