// A double as a piece of a wide integer, and back: the terms of ExactSum, and its rounding. C++17, no other header of
// ours: nvcc compiles it for devices too (constexpr functions, --expt-relaxed-constexpr).
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

constexpr std::int64_t kLimbMask = 0xffff'ffff;

/// Hands what is above 32 bits on to the next limb: all but the last, which keeps the sign, become 0 … 2^32 − 1.
/// `limbs`: Limbs::kCount, limb i counting 2^(32 i − 1074).
constexpr void pass_carries(std::int64_t* limbs) {
    std::int64_t carry = 0;
    for (int i = 0; i < Limbs::kCount - 1; ++i) {
        const std::int64_t sum = limbs[i] + carry;
        limbs[i] = sum & kLimbMask;
        carry = sum >> 32;  // a floor division
    }
    limbs[Limbs::kCount - 1] += carry;
}

/// The bits of the double nearest to the sum of limbs, ties to even. Changes the limbs.
constexpr std::uint64_t rounded_bits(std::int64_t* limbs) {
    pass_carries(limbs);
    const bool is_negative = limbs[Limbs::kCount - 1] < 0;
    if (is_negative) {
        for (int i = 0; i < Limbs::kCount; ++i) limbs[i] = -limbs[i];
        pass_carries(limbs);
    }
    const std::uint64_t sign = is_negative ? std::uint64_t{1} << 63 : 0;
    int top = Limbs::kCount - 1;
    while (top >= 0 && limbs[top] == 0) --top;
    if (top < 0) return 0;
    const auto limb = [&](int i) { return i >= 0 ? static_cast<std::uint64_t>(limbs[i]) : 0; };

    // The highest 64 bits and whether anything lies below: enough to round to 53 bits once.
    std::uint64_t head = limb(top) << 32 | limb(top - 1);
    int shift = 0;
    while (head >> 63 == 0) {
        head <<= 1;
        ++shift;
    }
    const std::uint64_t third = limb(top - 2) << shift;
    head |= third >> 32;
    bool below = (third & kLimbMask) != 0;
    for (int i = top - 3; i >= 0; --i) below = below || limbs[i] != 0;

    const int unit = 32 * (top - 1) - shift;  // of the head, over 2^-1074, below which nothing can be kept
    const int dropped = unit + 11 < 0 ? -unit : 11;
    std::uint64_t kept = head >> dropped;
    const std::uint64_t rest = head & ((std::uint64_t{1} << dropped) - 1), half = std::uint64_t{1} << (dropped - 1);
    if (rest > half || (rest == half && (below || (kept & 1) != 0))) ++kept;
    // The leading bit that a normal number does not store counts its exponent up by one, and so does a carry.
    const std::uint64_t bits = (static_cast<std::uint64_t>(unit + dropped) << 52) + kept;
    const std::uint64_t infinity = std::uint64_t{0x7ff} << 52;
    return sign | (bits < infinity ? bits : infinity);
}

}  // namespace smp::runtime
