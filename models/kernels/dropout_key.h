// Keyed randomness: every random bit is a function of where it is used, never of how many were drawn before.
#pragma once

#include <cstdint>

namespace smp::models::kernels {

/// Places in the model where dropout happens.
enum class DropoutSite : std::uint32_t { embedding, attention_weights, attention_output, mlp_output };

/// Key of one dropout. In a sequence of the global batch an element is named by (row, column). For [N, h] tensors, row
/// n of the microbatch is row n % length of sequence first_sequence + n / length, and columns are columns; a tensor may
/// hold some of these rows only, from `first_row` on. For attention weights the row is head · length + query, with the
/// global head index, and the column is the key's position.
struct DropoutKey {
    double probability = 0;
    std::uint64_t seed = 0;  // training.seed, mixed with tensor_parallel_seed at sites that tensor parallelism shards
    std::uint64_t step = 0;
    std::int64_t first_sequence = 0;
    std::int64_t length = 0;
    std::int64_t first_row = 0;  // of the microbatch, where the tensor begins; not for attention weights
    std::uint32_t layer = 0;
    DropoutSite site = DropoutSite::embedding;
};

}  // namespace smp::models::kernels
