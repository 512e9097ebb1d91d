// Products of 16-bit tiles by tensor cores, a warp at a time: PTX's mma.sync (m16n8k16, sums in fp32), ldmatrix and
// cp.async, of compute capability 8.0 on. All lanes take part in each. Fragments lie over the lanes as PTX says: lane l
// has, with row r = l / 4 and pair p = l % 4,
//   of a left factor [16, 16]: the pairs of columns (r, 2p), (r + 8, 2p), (r, 2p + 8), (r + 8, 2p + 8);
//   of a right factor [16, 8]: the pairs of rows (2p, r), (2p + 8, r);
//   of sums [16, 8]: (r, 2p), (r, 2p + 1), (r + 8, 2p), (r + 8, 2p + 1).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "models/kernels/cuda/stored.h"

namespace smp::models::kernels::cuda {

/// Two elements, each rounded: `first` at the lower address.
template <class T>
__device__ inline std::uint32_t pair_of(float first, float second) {
#ifdef __CUDACC__
    std::conditional_t<std::is_same_v<T, __half>, __half2, __nv_bfloat162> rounded;
    if constexpr (std::is_same_v<T, __half>)
        rounded = __floats2half2_rn(first, second);
    else
        rounded = __floats2bfloat162_rn(first, second);
    std::uint32_t pair;
    std::memcpy(&pair, &rounded, sizeof(pair));
#else
    const T rounded[2] = {stored<T>(first), stored<T>(second)};
    std::uint32_t pair;
    std::memcpy(&pair, rounded, sizeof(pair));
#endif
    return pair;
}

/// sums [16, 8] += left [16, 16] · right [16, 8].
template <class T>
__device__ inline void multiply_add(float (&sums)[4], const std::uint32_t (&left)[4], std::uint32_t upper,
                                    std::uint32_t lower) {
#ifdef __CUDACC__
    if constexpr (std::is_same_v<T, __half>)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(upper), "r"(lower));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
            "{%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(upper), "r"(lower));
#else
    cuda_on_host::multiply_add(sums, left, upper, lower,
                               [](std::uint16_t bits) { return to_float(*reinterpret_cast<const T*>(&bits)); });
#endif
}

/// Four matrices [8, 8] from shared memory: lane l names row l % 8 of matrix l / 8, and gets of each the pair of
/// columns (l / 4, 2 (l % 4)).
__device__ inline void load_matrices(std::uint32_t (&to)[4], const void* row) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
                 : "memory");
#else
    cuda_on_host::load_matrices(to, row);
#endif
}
/// Likewise, and gets of each the pair of rows (2 (l % 4), l / 4).
__device__ inline void load_transposed(std::uint32_t (&to)[4], const void* row) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
                 : "memory");
#else
    cuda_on_host::load_transposed(to, row);
#endif
}

/// 16 bytes from global into shared memory, without waiting; zeros unless it `is_there`. Both at multiples of 16 bytes.
__device__ inline void copy_ahead(void* to, const void* from, bool is_there) {
#ifdef __CUDACC__
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
        "l"(__cvta_generic_to_global(from)), "r"(is_there ? 16 : 0)
        : "memory");
#else
    if (is_there)
        std::memcpy(to, from, 16);
    else
        std::memset(to, 0, 16);
#endif
}
/// Ends a group of copies of this thread.
__device__ inline void end_group_of_copies() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Waits for all groups of this thread but the last one. What others have copied is there after a barrier.
__device__ inline void await_all_but_last_group() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group 1;" ::: "memory");
#endif
}

}  // namespace smp::models::kernels::cuda
