// Stands in for CUDA's header: see cuda_runtime.h beside it.
#pragma once

#include <c10/util/Half.h>

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's
struct __half {
    c10::Half value = 0;
};
inline float __half2float(__half x) { return x.value; }
inline __half __float2half_rn(float x) { return {x}; }
// NOLINTEND(bugprone-reserved-identifier)
