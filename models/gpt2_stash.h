// What GPT-2's segments keep of a microbatch between its passes, tensor by tensor: declared once, for the segments that
// keep it and for the plan that counts it.
#pragma once

#include <cstdint>
#include <vector>

#include "models/options.h"
#include "models/stash_entry.h"

namespace smp::models {

/// What module `module` (numbered as in gpt2_parameters) keeps on one tensor rank of b sequences of length T, from the
/// forward to the (input part of the) backward, in order.
std::vector<StashEntry> gpt2_stash(const ModelOptions& options, int tensor_degree, int module, std::int64_t sequences,
                                   std::int64_t length);

/// The same from the input to the weight part of the backward. Without dropout a branch's gradient is the gradient that
/// came from above, which nobody else keeps then: what is alive is the same.
std::vector<StashEntry> gpt2_deferred(const ModelOptions& options, int tensor_degree, int module,
                                      std::int64_t sequences, std::int64_t length);

/// Bytes of the boundary tensor [b·T, h] between two modules.
std::int64_t gpt2_boundary_bytes(const ModelOptions& options, std::int64_t sequences, std::int64_t length);

}  // namespace smp::models
