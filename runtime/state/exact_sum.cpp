#include "runtime/state/exact_sum.h"

#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace smp::runtime {

namespace {

constexpr int kLowestExponent = -1074;  // of the smallest subnormal: bit 0 of limb 0
constexpr std::int64_t kLimbMask = 0xffff'ffff;
constexpr int kMaximumPending =
    1 << 29;  // each addition changes a limb by less than 2^32; 2^29 of them stay below 2^62

}  // namespace

void ExactSum::add(double term) {
    const Limbs limbs = limbs_of(std::bit_cast<std::uint64_t>(term));
    if (!limbs.is_finite) {
        ++not_finite_;
        return;
    }
    const std::int64_t sign = limbs.is_negative ? -1 : 1;
    for (int part = 0; part < 3; ++part)
        limbs_[limbs.first + part] += sign * static_cast<std::int64_t>(limbs.parts[part]);
    if (++pending_ >= kMaximumPending) pass_carries();
}

void ExactSum::add(const ExactSum& other) {
    const auto theirs = other.words();
    pass_carries();
    for (int i = 0; i < kLimbs; ++i) limbs_[i] += theirs[i];
    not_finite_ += theirs[kLimbs];
    pass_carries();
}

void ExactSum::pass_carries() {
    std::int64_t carry = 0;
    for (int i = 0; i < kLimbs; ++i) {
        const std::int64_t sum = limbs_[i] + carry;
        // The top limb keeps its sign; the others become 0 … 2^32-1 with a floor division.
        if (i == kLimbs - 1) {
            limbs_[i] = sum;
        } else {
            limbs_[i] = sum & kLimbMask;
            carry = sum >> 32;
        }
    }
    pending_ = 0;
}

std::array<std::int64_t, ExactSum::kWords> ExactSum::words() const {
    ExactSum canonical = *this;
    canonical.pass_carries();
    std::array<std::int64_t, kWords> words;
    for (int i = 0; i < kLimbs; ++i) words[i] = canonical.limbs_[i];
    words[kLimbs] = not_finite_;
    return words;
}

ExactSum ExactSum::from_words(std::span<const std::int64_t> words) {
    if (words.size() != kWords) throw std::logic_error("ExactSum::from_words: wrong number of words");
    ExactSum sum;
    for (int i = 0; i < kLimbs; ++i) sum.limbs_[i] = words[i];
    sum.not_finite_ = words[kLimbs];
    sum.pass_carries();
    return sum;
}

double ExactSum::value() const {
    if (not_finite_ != 0) return std::numeric_limits<double>::quiet_NaN();
    ExactSum magnitude = *this;
    magnitude.pass_carries();
    const bool negative = magnitude.limbs_[kLimbs - 1] < 0;
    if (negative) {
        for (auto& limb : magnitude.limbs_) limb = -limb;
        magnitude.pass_carries();
    }
    int top = kLimbs - 1;
    while (top >= 0 && magnitude.limbs_[top] == 0) --top;
    if (top < 0) return 0.0;

    // The highest 96 bits and, in the lowest of them, whether anything lies below: enough to round to 53 bits once.
    unsigned __int128 head = 0;
    for (int i = top; i > top - 3; --i)
        head = (head << 32) | static_cast<std::uint64_t>(i >= 0 ? magnitude.limbs_[i] : 0);
    bool below = false;
    for (int i = top - 3; i >= 0; --i) below = below || magnitude.limbs_[i] != 0;

    const int width = 128 - (head >> 64 != 0 ? std::countl_zero(static_cast<std::uint64_t>(head >> 64))
                                             : 64 + std::countl_zero(static_cast<std::uint64_t>(head)));
    int dropped = width - 53;  // at least 12: the top limb is not 0
    // A result below the normal range keeps fewer bits.
    const int exponent = 32 * (top - 2) + kLowestExponent;
    if (exponent + dropped < kLowestExponent) dropped = kLowestExponent - exponent;
    auto kept = static_cast<std::uint64_t>(head >> dropped);
    const unsigned __int128 rest = head & ((static_cast<unsigned __int128>(1) << dropped) - 1);
    const unsigned __int128 half = static_cast<unsigned __int128>(1) << (dropped - 1);
    if (rest > half || (rest == half && (below || (kept & 1) != 0))) ++kept;
    const double value = std::ldexp(static_cast<double>(kept), exponent + dropped);
    return negative ? -value : value;
}

}  // namespace smp::runtime
