// What GPT-2's segments keep of a microbatch between its passes, tensor by tensor: declared once, for the segments that
// keep it and for the plan that counts it.
#pragma once

#include <cstdint>
#include <vector>

#include "models/activation_storage.h"
#include "models/gpt2/options.h"
#include "models/stash_entry.h"
#include "partition/job/options.h"

namespace smp::models {

ActivationStorage storage_of(const partition::ParallelOptions& options);

/// What module `module` (numbered as in gpt2_parameters) keeps on one tensor rank of b sequences of length T, from the
/// forward to the (input part of the) backward, in order. With Optimize::memory what is kept between the two linear
/// layers of a half is as with speed; all else is of the rank's own rows, 1/tp of the tokens.
std::vector<StashEntry> gpt2_stash(const ModelOptions& options, int tensor_degree, int module, std::int64_t sequences,
                                   std::int64_t length, ActivationStorage storage = {});

/// The same from the input to the weight part of the backward. Without dropout a branch's gradient is the gradient that
/// came from above, which nobody else keeps then: what is alive is the same.
std::vector<StashEntry> gpt2_deferred(const ModelOptions& options, int tensor_degree, int module,
                                      std::int64_t sequences, std::int64_t length, ActivationStorage storage = {});

/// Rows whose logits the head has at once.
inline constexpr std::int64_t kLogitsRows = 256;

/// Rows of the boundary tensor [N', h] between two modules that one tensor rank holds, of b·T.
std::int64_t gpt2_boundary_rows(int tensor_degree, std::int64_t sequences, std::int64_t length,
                                partition::Optimize optimize);
/// Its bytes.
std::int64_t gpt2_boundary_bytes(const ModelOptions& options, int tensor_degree, std::int64_t sequences,
                                 std::int64_t length, ActivationStorage storage);

}  // namespace smp::models
