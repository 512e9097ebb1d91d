#include "models/kernels/storage.h"

#include <bit>
#include <cstring>
#include <immintrin.h>

#include <c10/util/Half.h>

#include "models/kernels/vector_math.h"

namespace smp::models::kernels {

namespace {

SMP_VECTORISED void widen_bf16(float* to, std::int64_t to_stride, const std::uint16_t* from, std::int64_t from_stride,
                               std::int64_t rows, std::int64_t columns) {
    for (std::int64_t r = 0; r < rows; ++r, to += to_stride, from += from_stride)
#pragma omp simd
        for (std::int64_t c = 0; c < columns; ++c) to[c] = std::bit_cast<float>(std::uint32_t{from[c]} << 16);
}

SMP_VECTORISED void narrow_bf16(std::uint16_t* to, std::int64_t to_stride, const float* from, std::int64_t from_stride,
                                std::int64_t rows, std::int64_t columns) {
    for (std::int64_t r = 0; r < rows; ++r, to += to_stride, from += from_stride)
#pragma omp simd
        for (std::int64_t c = 0; c < columns; ++c) {
            const auto bits = std::bit_cast<std::uint32_t>(from[c]);
            // Half of the last place kept, less a little where the number below is even: a carry rounds up.
            const std::uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
            const bool is_nan = (bits & 0x7fff'ffff) > 0x7f80'0000;
            to[c] = static_cast<std::uint16_t>(is_nan ? 0x7fc0 : rounded);
        }
}

// Every processor with AVX2 converts fp16; the portable way gives the same bits, but for those of a NaN.
bool converts_fp16() {
    static const bool known = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
    return known;
}

__attribute__((target("avx2,f16c"))) void widen_fp16_run(float* to, const std::uint16_t* from, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
    if (i == count) return;
    std::uint16_t last[8] = {};
    float wide[8];
    std::memcpy(last, from + i, static_cast<std::size_t>(count - i) * sizeof(std::uint16_t));
    _mm256_storeu_ps(wide, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(last))));
    std::memcpy(to + i, wide, static_cast<std::size_t>(count - i) * sizeof(float));
}

__attribute__((target("avx2,f16c"))) void narrow_fp16_run(std::uint16_t* to, const float* from, std::int64_t count) {
    constexpr int kNearestEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    std::int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(from + i), kNearestEven));
    if (i == count) return;
    float last[8] = {};
    std::uint16_t rounded[8];
    std::memcpy(last, from + i, static_cast<std::size_t>(count - i) * sizeof(float));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rounded), _mm256_cvtps_ph(_mm256_loadu_ps(last), kNearestEven));
    std::memcpy(to + i, rounded, static_cast<std::size_t>(count - i) * sizeof(std::uint16_t));
}

void widen_fp16(float* to, const std::uint16_t* from, std::int64_t count) {
    if (converts_fp16()) return widen_fp16_run(to, from, count);
    for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(c10::Half(from[i], c10::Half::from_bits()));
}

void narrow_fp16(std::uint16_t* to, const float* from, std::int64_t count) {
    if (converts_fp16()) return narrow_fp16_run(to, from, count);
    for (std::int64_t i = 0; i < count; ++i) to[i] = c10::Half(from[i]).x;
}

}  // namespace

void load(float* to, std::int64_t to_stride, ConstElements from, std::int64_t from_stride, Patch patch) {
    if (from.storage == Storage::fp32) {
        for (std::int64_t r = 0; r < patch.rows; ++r)
            std::memcpy(to + r * to_stride, from.fp32() + r * from_stride,
                        static_cast<std::size_t>(patch.columns) * sizeof(float));
        return;
    }
    const auto* halves = static_cast<const std::uint16_t*>(from.data);
    if (from.storage == Storage::bf16) return widen_bf16(to, to_stride, halves, from_stride, patch.rows, patch.columns);
    for (std::int64_t r = 0; r < patch.rows; ++r)
        widen_fp16(to + r * to_stride, halves + r * from_stride, patch.columns);
}

void store(Elements to, std::int64_t to_stride, const float* from, std::int64_t from_stride, Patch patch) {
    if (to.storage == Storage::fp32) {
        for (std::int64_t r = 0; r < patch.rows; ++r)
            std::memcpy(to.fp32() + r * to_stride, from + r * from_stride,
                        static_cast<std::size_t>(patch.columns) * sizeof(float));
        return;
    }
    auto* halves = static_cast<std::uint16_t*>(to.data);
    if (to.storage == Storage::bf16)
        return narrow_bf16(halves, to_stride, from, from_stride, patch.rows, patch.columns);
    for (std::int64_t r = 0; r < patch.rows; ++r)
        narrow_fp16(halves + r * to_stride, from + r * from_stride, patch.columns);
}

}  // namespace smp::models::kernels
