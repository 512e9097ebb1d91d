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
// The stash of a half goes through two states: `forward` fills it with what gpt2_stash declares; `backward_input` turns
// it into what gpt2_deferred declares, which `backward_weight` reads and empties. The LayerNorm's own gradients are
// made in backward_input: they are cheap, and left for later they would keep four more tensors of the residual's size
// alive, which is what makes the deferred part no larger than the stash.
#pragma once

#include <cstddef>
#include <span>

#include <ATen/core/Tensor.h>

#include "models/gpt2/bound_segment.h"

namespace smp::models {

/// Whether backward_weight comes later, or right behind backward_input: then it finds gathered rows in the stash.
enum class Backward { split, whole };

struct BlockHalf {
    const ModelOptions& options;
    const Gpt2Shard& shard;
    const SegmentContext& context;
    int layer = 0;
    std::span<const ParameterView> parameters;  // six: gain, bias, weight, bias, projection weight, projection bias
    Backward backward = Backward::split;
};

inline constexpr std::size_t kHalfParameters = 6;
/// Tensors of attention's stash after forward; the MLP's are the rest.
constexpr std::size_t attention_kept(const SegmentContext& context) { return context.storage.recomputes_cheap ? 6 : 7; }
inline constexpr std::size_t kAttentionPending = 4;  // after backward_input

at::Tensor attention_forward(const BlockHalf& half, const at::Tensor& input, Stash& stash,
                             const Microbatch& microbatch);
at::Tensor attention_backward_input(const BlockHalf& half, const at::Tensor& gradient, Stash& stash,
                                    const Microbatch& microbatch);
void attention_backward_weight(const BlockHalf& half, Stash& stash);

at::Tensor mlp_forward(const BlockHalf& half, const at::Tensor& input, Stash& stash, const Microbatch& microbatch);
at::Tensor mlp_backward_input(const BlockHalf& half, const at::Tensor& gradient, Stash& stash,
                              const Microbatch& microbatch);
void mlp_backward_weight(const BlockHalf& half, Stash& stash);

}  // namespace smp::models
