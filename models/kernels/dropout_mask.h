// Which elements a keyed dropout keeps: the same on CPU and CUDA. No LibTorch header.
#pragma once

#include <cstdint>

#include "models/kernels/dropout_key.h"
#include "models/kernels/philox.h"

namespace smp::models::kernels {

/// A dropout, prepared. Element (sequence, row, column) is word (column / 16) % 4 of the Philox block with counter
/// {column / 64 · 16 + column % 16, row, sequence (64 bits)}: one run of 16 counters gives 64 neighbouring columns,
/// which suits vector units of any width. It is kept where that word is at least `threshold`.
struct DropoutMask {
    PhiloxKey key;
    std::uint32_t threshold = 0;  // probability · 2^32, rounded
    float scale = 1;              // of what is kept: 1 / (1 − probability)
};

/// Throws std::logic_error unless 0 ≤ probability < 1.
DropoutMask dropout_mask(const DropoutKey& key);

/// Row `row` of global sequence `sequence`: mask[c] = scale or 0, for c in [0, columns).
void fill_dropout_row(float* mask, const DropoutMask& dropout, std::uint64_t sequence, std::uint32_t row,
                      std::int64_t columns);

/// The same for rows [first_row, first_row + rows) of `sequences` sequences from first_sequence on, into `mask`
/// [sequences, rows, columns] on the current CUDA device; `stream` is a cudaStream_t. Asynchronous; throws
/// std::runtime_error where the launch fails. Without CUDA in the build: std::logic_error.
void fill_dropout_mask_on_cuda(float* mask, const DropoutMask& dropout, std::uint64_t first_sequence,
                               std::int64_t sequences, std::uint32_t first_row, std::int64_t rows, std::int64_t columns,
                               void* stream);

/// The word of one element, as said at DropoutMask.
constexpr std::uint32_t dropout_bits(PhiloxKey key, std::uint64_t sequence, std::uint32_t row, std::uint32_t column) {
    const PhiloxBlock x = philox({column / 64 * 16 + column % 16, row, static_cast<std::uint32_t>(sequence),
                                  static_cast<std::uint32_t>(sequence >> 32)},
                                 key);
    switch (column / 16 % 4) {
        case 0: return x.x0;
        case 1: return x.x1;
        case 2: return x.x2;
        default: return x.x3;
    }
}

}  // namespace smp::models::kernels
