// Stands in for CUDA's header: see cuda_runtime.h beside it.
#pragma once

#include <c10/util/BFloat16.h>

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's
struct __nv_bfloat16 {
    c10::BFloat16 value = 0;
};
inline float __bfloat162float(__nv_bfloat16 x) { return x.value; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return {x}; }
// NOLINTEND(bugprone-reserved-identifier)
