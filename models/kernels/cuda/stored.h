// Elements on the device in any storage, read as fp32 and rounded once when they are stored: storage.h for kernels.
#pragma once

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
