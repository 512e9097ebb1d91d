// What GPT-2's segments keep of a microbatch between its passes: the one statement of it (models/stash.h), for the
// segments that keep it and for the plan that counts it.
//
// With Optimize::memory what is kept between the two linear layers of a half is as with speed; all else is of the
// rank's own rows, 1/tp of the tokens.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "models/gpt2/options.h"
#include "models/microbatch_share.h"
#include "models/stash.h"

namespace smp::models {

/// N = b·T tokens; N' = N, or N/tp where rows are sharded.
enum class Gpt2Extent {
    vector,     // [N'], fp32 in every precision
    residual,   // [N', h]
    qkv,        // [N, 3·H·d], this rank's heads
    attended,   // [N, H·d], likewise
    logsumexp,  // [b, H, T], likewise, fp32 in every precision
    inner,      // [N, inner], this rank's columns
};

using Gpt2Kept = KeptTensor<Gpt2Extent>;

inline constexpr std::array kEmbeddingStash = {
    Gpt2Kept{"gradient", Gpt2Extent::residual, Pass::backward_input, Pass::backward_weight},
};

// A layer keeps both halves' rows, attention's first. The gradient of a branch is behind its dropout; without dropout
// it is the gradient that came from above, which nobody else keeps then: what is alive is the same.
inline constexpr std::array kAttentionStash = {
    Gpt2Kept{kModuleInput, Gpt2Extent::residual, Pass::forward, Pass::backward_input},
    Gpt2Kept{"ln_1.mean", Gpt2Extent::vector, Pass::forward, Pass::backward_input},
    Gpt2Kept{"ln_1.rstd", Gpt2Extent::vector, Pass::forward, Pass::backward_input},
    Gpt2Kept{"ln_1", Gpt2Extent::residual, Pass::forward, Pass::backward_weight, /*cheap=*/true},
    Gpt2Kept{"attn.qkv", Gpt2Extent::qkv, Pass::forward, Pass::backward_input},
    Gpt2Kept{"attn.attended", Gpt2Extent::attended, Pass::forward, Pass::backward_weight},
    Gpt2Kept{"attn.logsumexp", Gpt2Extent::logsumexp, Pass::forward, Pass::backward_input},
    Gpt2Kept{"attn.qkv.gradient", Gpt2Extent::qkv, Pass::backward_input, Pass::backward_weight},
    Gpt2Kept{"attn.branch.gradient", Gpt2Extent::residual, Pass::backward_input, Pass::backward_weight},
};
inline constexpr std::array kMlpStash = {
    Gpt2Kept{"middle", Gpt2Extent::residual, Pass::forward, Pass::backward_input},
    Gpt2Kept{"ln_2.mean", Gpt2Extent::vector, Pass::forward, Pass::backward_input},
    Gpt2Kept{"ln_2.rstd", Gpt2Extent::vector, Pass::forward, Pass::backward_input},
    Gpt2Kept{"ln_2", Gpt2Extent::residual, Pass::forward, Pass::backward_weight, /*cheap=*/true},
    Gpt2Kept{"mlp.before_gelu", Gpt2Extent::inner, Pass::forward, Pass::backward_input},
    Gpt2Kept{"mlp.after_gelu", Gpt2Extent::inner, Pass::forward, Pass::backward_weight, /*cheap=*/true},
    Gpt2Kept{"mlp.before_gelu.gradient", Gpt2Extent::inner, Pass::backward_input, Pass::backward_weight},
    Gpt2Kept{"mlp.branch.gradient", Gpt2Extent::residual, Pass::backward_input, Pass::backward_weight},
};

inline constexpr std::array kHeadStash = {
    Gpt2Kept{kModuleInput, Gpt2Extent::residual, Pass::forward, Pass::backward_input},
    Gpt2Kept{"ln_f.mean", Gpt2Extent::vector, Pass::forward, Pass::backward_input},
    Gpt2Kept{"ln_f.rstd", Gpt2Extent::vector, Pass::forward, Pass::backward_input},
    Gpt2Kept{"ln_f", Gpt2Extent::residual, Pass::forward, Pass::backward_input, /*cheap=*/true},
};

/// Rows whose logits, of `vocabulary` tokens each, the head has at once. The weight's gradient is read and written once
/// for each such chunk: on the CPU it is a short one, whose logits stay in the caches; on CUDA as many rows as 1 GiB
/// holds, a multiple of 256 from 256 to 8192.
std::int64_t logits_rows(const ActivationStorage& storage, std::int64_t vocabulary);

/// The rows of module `module` (numbered as in gpt2_parameters) with their bytes: entry i is the stash's i-th tensor.
std::vector<StashEntry> gpt2_stash(const Gpt2Options& options, int module, const MicrobatchShare& share);

}  // namespace smp::models
