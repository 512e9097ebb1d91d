// A second family, as small as can be: an MLP language model. It shows, and its tests prove, that a family needs no
// change outside of its folder.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/model.h"
#include "models/segment.h"

namespace smp::testing {

/// "embed" → "block.0" … → "head": x = E[token]; x += gelu(x·U + u)·D + d in each block; logits x·Hᵀ, where H may be E.
struct MlpOptions {
    std::int64_t layers = 4;
    std::int64_t width = 16;       // h
    std::int64_t inner = 24;       // of a block
    std::int64_t vocabulary = 97;  // V
    std::int64_t longest = 64;     // tokens of a sequence; nothing looks at more than one
    bool tied = true;
};

/// Tensor parallel: U by columns, D by rows, E and H by tokens.
models::Model mlp(const MlpOptions& options);

std::vector<std::unique_ptr<models::Segment>> mlp_segments(const MlpOptions& options, int first_module, int end_module,
                                                           const models::SegmentContext& context);

}  // namespace smp::testing
