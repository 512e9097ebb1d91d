#include "runtime/data/dataset_order.h"

#include <bit>
#include <stdexcept>

#include <fmt/format.h>

namespace smp::runtime {
namespace {

// The finalizer of SplitMix64 (Steele, Lea & Flood 2014): every input bit reaches every output bit.
constexpr std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio

}  // namespace

EpochPermutation::EpochPermutation(std::int64_t count, std::uint64_t seed, std::int64_t epoch)
    : count_(static_cast<std::uint64_t>(count)),
      half_bits_((std::bit_width(static_cast<std::uint64_t>(count - 1)) + 1) / 2) {
    if (count < 1 || epoch < 0)
        throw std::logic_error(fmt::format("EpochPermutation of {} samples in epoch {}.", count, epoch));
    std::uint64_t state = mix(mix(seed + kGolden) + static_cast<std::uint64_t>(epoch));
    for (std::uint64_t& key : keys_) key = mix(state += kGolden);
}

std::int64_t EpochPermutation::operator()(std::int64_t index) const {
    const auto start = static_cast<std::uint64_t>(index);
    if (start >= count_) throw std::logic_error(fmt::format("Sample {} of an epoch of {}.", index, count_));
    if (half_bits_ == 0) return index;
    const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
    std::uint64_t value = start;
    do {
        std::uint64_t left = value >> half_bits_;
        std::uint64_t right = value & mask;
        for (const std::uint64_t key : keys_) {
            const std::uint64_t next = left ^ (mix(right ^ key) >> (64 - half_bits_));
            left = right;
            right = next;
        }
        value = left << half_bits_ | right;
    } while (value >= count_);
    return static_cast<std::int64_t>(value);
}

}  // namespace smp::runtime
