// Elements on the device in any storage, read as fp32 and rounded once when they are stored: storage.h for kernels.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "models/kernels/storage.h"

namespace smp::models::kernels::cuda {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
__device__ inline T stored(float x);
template <>
__device__ inline float stored<float>(float x) {
    return x;
}
template <>
__device__ inline __half stored<__half>(float x) {
    return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 stored<__nv_bfloat16>(float x) {
    return __float2bfloat16_rn(x);
}

/// Neighbours that are read and written at once, by words of 16 bytes where there are so many of them.
template <class T, int kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Run {
    T at[kCount];
};
constexpr int kRunLength = 8;
/// Whether elements of all these places can be taken in runs: each begins at a multiple of 16 bytes.
template <class... Places>
bool begin_runs(const Places*... places) {
    return ((reinterpret_cast<std::uintptr_t>(places) % 16 == 0) && ...);
}

/// f(T{}) with the type of the storage's elements.
template <class F>
void with_type(Storage storage, const F& f) {
    switch (storage) {
        case Storage::fp32: return f(float{});
        case Storage::bf16: return f(__nv_bfloat16{});
        case Storage::fp16: return f(__half{});
    }
}

template <class T>
const T* as(ConstElements x) {
    return static_cast<const T*>(x.data);
}
template <class T>
T* as(Elements x) {
    return static_cast<T*>(x.data);
}

}  // namespace smp::models::kernels::cuda
