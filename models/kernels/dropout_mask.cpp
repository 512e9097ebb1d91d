#include "models/kernels/dropout_mask.h"

#include <algorithm>
#include <cmath>
#include <immintrin.h>
#include <stdexcept>
#include <string>

namespace smp::models::kernels {

namespace {

/// Mask of 64 columns, which are one run of 16 counters from `counter` on.
using FillRun = void (*)(float* mask, const DropoutMask& dropout, std::uint64_t sequence, std::uint32_t row,
                         std::uint32_t counter);

void fill_run_portable(float* mask, const DropoutMask& dropout, std::uint64_t sequence, std::uint32_t row,
                       std::uint32_t counter) {
    for (std::uint32_t c = 0; c < 64; ++c)
        mask[c] = dropout_bits(dropout.key, sequence, row, counter * 4 + c) >= dropout.threshold ? dropout.scale : 0.0F;
}

#define SMP_AVX2 __attribute__((target("avx2"), always_inline)) inline

struct Halves {
    __m256i high, low;
};

/// 8 products of 32 by 32 bits.
SMP_AVX2 Halves wide_product(__m256i x, __m256i factor) {
    const __m256i even = _mm256_mul_epu32(x, factor);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), factor);
    return {_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA),
            _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA)};
}

SMP_AVX2 __m256i all(std::uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }

/// philox() of 8 counters at once, and the mask that follows.
SMP_AVX2 void fill_half(float* mask, const DropoutMask& dropout, std::uint64_t sequence, std::uint32_t row,
                        std::uint32_t counter) {
    __m256i x0 = _mm256_add_epi32(all(counter), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i x1 = all(row), x2 = all(static_cast<std::uint32_t>(sequence));
    __m256i x3 = all(static_cast<std::uint32_t>(sequence >> 32));
    PhiloxKey key = dropout.key;
    for (int round = 0; round < 10; ++round) {
        const Halves a = wide_product(x0, all(0xD2511F53)), b = wide_product(x2, all(0xCD9E8D57));
        x0 = _mm256_xor_si256(_mm256_xor_si256(b.high, x1), all(key.k0));
        x1 = b.low;
        x2 = _mm256_xor_si256(_mm256_xor_si256(a.high, x3), all(key.k1));
        x3 = a.low;
        key.k0 += 0x9E3779B9;
        key.k1 += 0xBB67AE85;
    }
    const __m256i threshold = all(dropout.threshold);
    const __m256 scale = _mm256_set1_ps(dropout.scale);
    const __m256i words[4] = {x0, x1, x2, x3};
    for (int word = 0; word < 4; ++word) {
        const __m256i keep = _mm256_cmpeq_epi32(_mm256_max_epu32(words[word], threshold), words[word]);
        _mm256_storeu_ps(mask + 16 * word, _mm256_and_ps(_mm256_castsi256_ps(keep), scale));
    }
}

__attribute__((target("avx2"))) void fill_run_avx2(float* mask, const DropoutMask& dropout, std::uint64_t sequence,
                                                   std::uint32_t row, std::uint32_t counter) {
    fill_half(mask, dropout, sequence, row, counter);
    fill_half(mask + 8, dropout, sequence, row, counter + 8);
}

}  // namespace

DropoutMask dropout_mask(const DropoutKey& key) {
    if (!(key.probability >= 0 && key.probability < 1))
        throw std::logic_error("dropout probability " + std::to_string(key.probability) + " is not in [0, 1)");
    const std::uint64_t place = std::uint64_t{key.layer} << 32 | static_cast<std::uint32_t>(key.site);
    return {.key = philox_key(mix(mix(mix(0, key.seed), key.step), place)),
            .threshold = static_cast<std::uint32_t>(std::min(std::nearbyint(key.probability * 0x1p32), 0x1p32 - 1)),
            .scale = static_cast<float>(1 / (1 - key.probability))};
}

void fill_dropout_row(float* mask, const DropoutMask& dropout, std::uint64_t sequence, std::uint32_t row,
                      std::int64_t columns) {
    static const FillRun fill = __builtin_cpu_supports("avx2") ? fill_run_avx2 : fill_run_portable;
    std::int64_t c = 0;
    for (; c + 64 <= columns; c += 64) fill(mask + c, dropout, sequence, row, static_cast<std::uint32_t>(c / 4));
    if (c == columns) return;
    float last[64];
    fill(last, dropout, sequence, row, static_cast<std::uint32_t>(c / 4));
    std::copy_n(last, columns - c, mask + c);
}

}  // namespace smp::models::kernels
