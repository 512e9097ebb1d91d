#include "models/gpt2/gpt2_block.h"

#include <algorithm>
#include <utility>

#include "models/gpt2/gpt2_stash.h"

namespace smp::models {

namespace {

HalfStash attention_of(Stash& stash) { return HalfStash(stash).first(std::min(stash.size(), kAttentionStash.size())); }
HalfStash mlp_of(Stash& stash) { return HalfStash(stash).subspan(attention_of(stash).size()); }

}  // namespace

Block::Block(const Gpt2Options& options, int layer, SegmentContext context)
    : Gpt2Segment(options, layer + 1, std::move(context)), layer_(layer) {}

at::Tensor Block::forward(const at::Tensor& input, Stash& stash, const Microbatch& microbatch, Loss& /*loss*/) {
    stash.clear();
    if (microbatch.training) stash.resize(kAttentionStash.size() + kMlpStash.size());
    const at::Tensor middle = attention_forward(attention(), input, attention_of(stash), microbatch);
    return mlp_forward(mlp(), middle, mlp_of(stash), microbatch);
}

at::Tensor Block::backward_input(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch,
                                 Loss& /*loss*/) {
    const at::Tensor middle_gradient = mlp_backward_input(mlp(), gradient, mlp_of(stash), microbatch);
    return attention_backward_input(attention(), middle_gradient, attention_of(stash), microbatch);
}

void Block::backward_weight(Stash& stash, const Microbatch& /*microbatch*/) {
    mlp_backward_weight(mlp(), mlp_of(stash));
    attention_backward_weight(attention(), attention_of(stash));
    stash.clear();
}

at::Tensor Block::backward(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch, Loss& /*loss*/) {
    const BlockHalf mlp = this->mlp(Backward::whole), attention = this->attention(Backward::whole);
    const at::Tensor middle_gradient = mlp_backward_input(mlp, gradient, mlp_of(stash), microbatch);
    mlp_backward_weight(mlp, mlp_of(stash));
    at::Tensor input_gradient = attention_backward_input(attention, middle_gradient, attention_of(stash), microbatch);
    attention_backward_weight(attention, attention_of(stash));
    stash.clear();
    return input_gradient;
}

BlockHalf Block::attention(Backward backward) const {
    return {options_, shard_, context_, layer_, views().first(kHalfParameters), backward};
}

BlockHalf Block::mlp(Backward backward) const {
    return {options_, shard_, context_, layer_, views().last(kHalfParameters), backward};
}

}  // namespace smp::models
