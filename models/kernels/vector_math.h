// Loops that g++ vectorises for several instruction sets at once, with the same bits on each: fused multiply-adds are
// written out, sums run in 16 lanes that are added in a fixed order.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// A function with this attribute is compiled for AVX-512, for AVX2 with FMA and for any x86-64; the loader picks one.
// Sanitizers cannot run the code that picks. What is called from it must be inlined: SMP_INLINE.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SMP_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SMP_VECTORISED
#endif
#define SMP_INLINE inline __attribute__((always_inline))

namespace smp::models::kernels {

SMP_INLINE float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

/// e^x within 2 units in the last place (4e-38 absolute below −87, where results are subnormal); 0 below −104;
/// arguments above 88.7 count as 88.7.
SMP_INLINE float exponential(float x) {
    x = x < -104.0F ? -104.0F : x;
    x = x > 88.7F ? 88.7F : x;
    constexpr float kRound = 12582912.0F;                    // 1.5 · 2^23: adding it rounds to an integer
    const float n = fused(x, 1.44269504F, kRound) - kRound;  // x = n ln 2 + r
    const float r = fused(n, -1.42860677e-6F, fused(n, -0.693145752F, x));  // ln 2 in two parts
    float p = 1.98756912e-4F;  // minimax for e^r, |r| ≤ ln 2 / 2 (Cephes)
    p = fused(p, r, 1.3981999507e-3F);
    p = fused(p, r, 8.3334519073e-3F);
    p = fused(p, r, 4.1665795894e-2F);
    p = fused(p, r, 1.6666665459e-1F);
    p = fused(p, r, 5.0000001201e-1F);
    p = fused(p, r * r, r) + 1.0F;
    const auto exponent = static_cast<std::int32_t>(n);  // 2^n in two steps, since it may be subnormal
    const std::int32_t half = exponent / 2;
    return p * std::bit_cast<float>((half + 127) << 23) * std::bit_cast<float>((exponent - half + 127) << 23);
}

constexpr int kLanes = 16;

/// The sum of 16 lanes: by halves.
SMP_INLINE float lane_sum(const float (&lanes)[kLanes]) {
    float folded[kLanes / 2];
    for (int l = 0; l < 8; ++l) folded[l] = lanes[l] + lanes[l + 8];
    for (int l = 0; l < 4; ++l) folded[l] += folded[l + 4];
    return (folded[0] + folded[2]) + (folded[1] + folded[3]);
}

/// Σ term(i) over i in [0, count): lane l adds the terms l, l + 16, …
template <class Term>
SMP_INLINE float vector_sum(std::int64_t count, const Term& term) {
    float lanes[kLanes] = {};
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
#pragma omp simd
        for (int l = 0; l < kLanes; ++l) lanes[l] += term(i + l);
    for (int l = 0; i + l < count; ++l) lanes[l] += term(i + l);
    return lane_sum(lanes);
}

}  // namespace smp::models::kernels
