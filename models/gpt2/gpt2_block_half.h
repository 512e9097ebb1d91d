// The two halves of a layer. Each is x + dropout(branch(LayerNorm(x))), where the branch is two linear layers around
// something: attention, or GELU. The first linear layer is cut by columns over the tensor ranks, the second by rows, so
// a half sums once over the tensor group in forward (the branch) and once in backward (the LayerNorm's output
// gradient).
//
// With Optimize::memory (Korthikanti et al. 2022, §4.2.2) LayerNorm, dropout and residual see the rank's own rows only:
// each of the two sums becomes a reduce-scatter of rows, and rows are all-gathered where the linear layers begin, in
// forward the LayerNorm's output, in backward the branch's gradient. Both together move the bytes of the sum. What is
// kept for the backward is own rows; so weight gradients gather the LayerNorm's output once more (a quarter more bytes
// in all), and, in a backward that is split, the branch's gradient too.
//
// A half's part of the stash has the rows of its table (gpt2_stash.h). The LayerNorm's own gradients are made in
// backward_input: they are cheap, and left for later they would keep four more tensors of the residual's size alive,
// which is what makes what is kept for the weight part no larger than what was kept from the forward.
#pragma once

#include <cstddef>
#include <span>

#include <ATen/core/Tensor.h>

#include "models/gpt2/gpt2_segment.h"

namespace smp::models {

/// Whether backward_weight comes later, or right behind backward_input: then it finds gathered rows in the stash.
enum class Backward { split, whole };

struct BlockHalf {
    const Gpt2Options& options;
    const Gpt2Shard& shard;
    const SegmentContext& context;
    int layer = 0;
    std::span<const ParameterView> parameters;  // six: gain, bias, weight, bias, projection weight, projection bias
    Backward backward = Backward::split;
};

inline constexpr std::size_t kHalfParameters = 6;

/// A half's part of the layer's stash; empty where nothing is kept.
using HalfStash = std::span<at::Tensor>;

at::Tensor attention_forward(const BlockHalf& half, const at::Tensor& input, HalfStash stash,
                             const Microbatch& microbatch);
at::Tensor attention_backward_input(const BlockHalf& half, const at::Tensor& gradient, HalfStash stash,
                                    const Microbatch& microbatch);
void attention_backward_weight(const BlockHalf& half, HalfStash stash);

at::Tensor mlp_forward(const BlockHalf& half, const at::Tensor& input, HalfStash stash, const Microbatch& microbatch);
at::Tensor mlp_backward_input(const BlockHalf& half, const at::Tensor& gradient, HalfStash stash,
                              const Microbatch& microbatch);
void mlp_backward_weight(const BlockHalf& half, HalfStash stash);

}  // namespace smp::models
