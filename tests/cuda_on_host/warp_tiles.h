// What the lanes of a warp do together with 16-bit tiles (models/kernels/cuda/tensor_cores.h says how they lie over the
// lanes), on the host: each lane makes its own part from what the others hold.
#pragma once

#include <cstdint>
#include <cstring>

#include "tests/cuda_on_host/cuda_on_host.h"

namespace smp::testing::cuda_on_host {

struct Factors {
    std::uint32_t left[4], right[2];
};

inline std::uint16_t half_of(std::uint32_t pair, int which) {
    return static_cast<std::uint16_t>(which == 0 ? pair & 0xFFFFU : pair >> 16);
}

/// mma.sync.m16n8k16 with sums in fp32, added in ascending order; `widen` makes a float of 16 bits.
template <class Widen>
void multiply_add(float (&sums)[4], const std::uint32_t (&left)[4], std::uint32_t upper, std::uint32_t lower,
                  const Widen& widen) {
    const Factors own = {{left[0], left[1], left[2], left[3]}, {upper, lower}};
    const auto lane = static_cast<int>(place().thread.x);
    in_warp(&own, [&](const void* const* lanes) {
        const auto of = [&](int other) -> const Factors& { return *static_cast<const Factors*>(lanes[other]); };
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4, column = lane % 4 * 2 + i % 2;
            for (int k = 0; k < 16; ++k) {
                const std::uint32_t a = of(4 * row + k % 8 / 2).left[i / 2 + k / 8 * 2];
                const std::uint32_t b = of(4 * column + k % 8 / 2).right[k / 8];
                sums[i] += widen(half_of(a, k % 2)) * widen(half_of(b, k % 2));
            }
        }
    });
}

/// ldmatrix.m8n8.x4.
inline void load_matrices(std::uint32_t (&to)[4], const void* row) {
    const auto lane = static_cast<int>(place().thread.x);
    in_warp(row, [&](const void* const* rows) {
        for (int i = 0; i < 4; ++i)
            std::memcpy(&to[i], static_cast<const std::uint16_t*>(rows[8 * i + lane / 4]) + lane % 4 * 2,
                        sizeof(to[i]));
    });
}

/// ldmatrix.m8n8.x4.trans.
inline void load_transposed(std::uint32_t (&to)[4], const void* row) {
    const auto lane = static_cast<int>(place().thread.x);
    in_warp(row, [&](const void* const* rows) {
        for (int i = 0; i < 4; ++i) {
            const auto at = [&](int of) {
                return std::uint32_t{static_cast<const std::uint16_t*>(rows[8 * i + lane % 4 * 2 + of])[lane / 4]};
            };
            to[i] = at(0) | at(1) << 16;
        }
    });
}

}  // namespace smp::testing::cuda_on_host
