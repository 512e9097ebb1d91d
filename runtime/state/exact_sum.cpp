#include "runtime/state/exact_sum.h"

#include <bit>
#include <limits>
#include <stdexcept>

namespace smp::runtime {

namespace {

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
    runtime::pass_carries(limbs_.data());
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
    auto limbs = limbs_;
    return std::bit_cast<double>(rounded_bits(limbs.data()));
}

}  // namespace smp::runtime
