// A double as a piece of a wide integer: the terms of ExactSum. C++17, no other header of ours: nvcc compiles it for
// devices too (a constexpr function, --expt-relaxed-constexpr).
#pragma once

#include <cstdint>

namespace smp::runtime {

/// (−1)^is_negative · (parts[0] + parts[1] · 2^32 + parts[2] · 2^64) · 2^(32 · first − 1074), parts below 2^32.
struct Limbs {
    /// 32 bits a limb: 2^-1074 … 2^1024 and room for carries.
    static constexpr int kCount = 68;

    bool is_finite = true;  // else the rest says nothing
    bool is_negative = false;
    int first = 0;
    std::uint64_t parts[3] = {};
};

/// Of the double with these bits, exactly.
constexpr Limbs limbs_of(std::uint64_t bits) {
    const auto exponent = static_cast<int>((bits >> 52) & 0x7ff);
    std::uint64_t mantissa = bits & ((std::uint64_t{1} << 52) - 1);
    Limbs limbs;
    limbs.is_negative = (bits >> 63) != 0;
    if (exponent == 0x7ff) {
        limbs.is_finite = false;
        return limbs;
    }
    if (exponent != 0) mantissa |= std::uint64_t{1} << 52;
    const int shift = exponent == 0 ? 0 : exponent - 1;  // value = mantissa · 2^(shift − 1074)
    const int offset = shift % 32;
    // At most 85 bits, in two overlapping words.
    const std::uint64_t low = mantissa << offset, high = offset == 0 ? 0 : mantissa >> (64 - offset);
    limbs.first = shift / 32;
    limbs.parts[0] = low & 0xffff'ffff;
    limbs.parts[1] = low >> 32;
    limbs.parts[2] = high;
    return limbs;
}

}  // namespace smp::runtime
