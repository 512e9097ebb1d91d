// How kernels are started and how their threads add up. C++17 for nvcc; tests/cuda_on_host compiles it for the host,
// with a cuda_runtime.h of its own.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include <cuda_runtime.h>

// Before a loop over an array of a thread's own, which then lies in registers; before one that shall take few of them.
#ifdef __CUDACC__
#define SMP_UNROLLED _Pragma("unroll")
#define SMP_ROLLED _Pragma("unroll 1")
#else
#define SMP_UNROLLED
#define SMP_ROLLED
#endif

namespace smp::models::kernels::cuda {

constexpr int kWarp = 32;

/// Starts `kernel` on `stream` (a cudaStream_t); does not wait. No blocks: nothing to do. Throws std::runtime_error
/// where it cannot be started.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, void* stream, Arguments... arguments) {
    if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return;
#ifdef __CUDACC__
    kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(arguments...);
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess)
        throw std::runtime_error(std::string("a kernel could not be started: ") + cudaGetErrorString(error));
#else
    cuda_on_host::load(cuda_on_host::name_of(kernel));
    cuda_on_host::run(blocks, threads, stream, [=] { kernel(arguments...); });
#endif
}

/// Blocks of `size` that cover `count`. A grid has up to 2^31 − 1 of them along x.
inline unsigned blocks_for(std::int64_t count, std::int64_t size) {
    const std::int64_t blocks = (count + size - 1) / size;
    if (blocks > 0x7FFFFFFF) throw std::runtime_error("a kernel over more elements than a grid has threads for");
    return static_cast<unsigned>(blocks);
}

/// The same sum in all lanes of a warp: by halves, so in a fixed order.
__device__ inline float warp_sum(float x) {
    for (int lane = kWarp / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xFFFFFFFFU, x, lane);
    return x;
}

__device__ inline float warp_max(float x) {
    for (int lane = kWarp / 2; lane > 0; lane /= 2) {
        const float other = __shfl_xor_sync(0xFFFFFFFFU, x, lane);
        x = x < other ? other : x;
    }
    return x;
}

/// The row of a warp where blocks are kWarp × kRows threads, a warp a row.
constexpr int kRows = 4;
__device__ inline std::int64_t row_of_warp() { return std::int64_t{blockIdx.x} * kRows + threadIdx.y; }

}  // namespace smp::models::kernels::cuda
