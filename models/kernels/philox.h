// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1,
// 2, 3" (SC 2011): 128 random bits as a function of a 128-bit counter and a 64-bit key. C++17, no other header of ours:
// nvcc compiles it for devices too (constexpr functions, --expt-relaxed-constexpr).
#pragma once

#include <cmath>
#include <cstdint>

namespace smp::models::kernels {

struct PhiloxKey {
    std::uint32_t k0 = 0, k1 = 0;
};

struct PhiloxBlock {
    std::uint32_t x0 = 0, x1 = 0, x2 = 0, x3 = 0;
};

constexpr PhiloxKey philox_key(std::uint64_t bits) {
    return {static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32)};
}

constexpr PhiloxBlock philox(PhiloxBlock counter, PhiloxKey key) {
    PhiloxBlock x = counter;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t a = std::uint64_t{0xD2511F53} * x.x0;
        const std::uint64_t b = std::uint64_t{0xCD9E8D57} * x.x2;
        x = {static_cast<std::uint32_t>(b >> 32) ^ x.x1 ^ key.k0, static_cast<std::uint32_t>(b),
             static_cast<std::uint32_t>(a >> 32) ^ x.x3 ^ key.k1, static_cast<std::uint32_t>(a)};
        key.k0 += 0x9E3779B9;
        key.k1 += 0xBB67AE85;
    }
    return x;
}

/// One 64-bit word out of two, well mixed: chains the parts of a key. (The finaliser of SplitMix64.)
constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t word) {
    std::uint64_t z = hash * 0x9E3779B97F4A7C15 + word + 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

/// Standard normal number `element` of stream `stream` (a hash of a parameter's name): Box–Muller in fp64, elements 2i
/// and 2i+1 from the two halves of one Philox block. Host only.
inline double normal(std::uint64_t seed, std::uint64_t stream, std::int64_t element) {
    const auto pair = static_cast<std::uint64_t>(element) >> 1;
    const PhiloxBlock bits = philox({static_cast<std::uint32_t>(pair), static_cast<std::uint32_t>(pair >> 32),
                                     static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                                    philox_key(seed));
    constexpr double kUnit = 1.0 / (std::uint64_t{1} << 53);
    const std::uint64_t high = (std::uint64_t{bits.x0} << 32 | bits.x1) >> 11;
    const std::uint64_t low = (std::uint64_t{bits.x2} << 32 | bits.x3) >> 11;
    const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(high) + 1.0) * kUnit));  // of (0, 1]
    const double angle = 6.283185307179586476925 * (static_cast<double>(low) * kUnit);
    return radius * ((element & 1) == 0 ? std::cos(angle) : std::sin(angle));
}

}  // namespace smp::models::kernels
