#include "models/gpt2/gpt2_block.h"

#include <iterator>
#include <utility>

namespace smp::models {

namespace {

/// Moves all but the first `count` tensors out of a stash.
Stash split_off(Stash& stash, std::size_t count) {
    const auto from = stash.begin() + static_cast<std::ptrdiff_t>(count);
    Stash rest(std::make_move_iterator(from), std::make_move_iterator(stash.end()));
    stash.erase(from, stash.end());
    return rest;
}

void append(Stash& stash, Stash&& rest) {
    stash.insert(stash.end(), std::make_move_iterator(rest.begin()), std::make_move_iterator(rest.end()));
}

}  // namespace

Block::Block(const ModelOptions& options, int layer, SegmentContext context)
    : BoundSegment(options, layer + 1, std::move(context)), layer_(layer) {}

at::Tensor Block::forward(const at::Tensor& input, Stash& stash, const Microbatch& microbatch, Loss& /*loss*/) {
    stash.clear();
    Stash mlp_stash;
    const at::Tensor middle = attention_forward(attention(), input, stash, microbatch);
    at::Tensor output = mlp_forward(mlp(), middle, mlp_stash, microbatch);
    append(stash, std::move(mlp_stash));
    return output;
}

at::Tensor Block::backward_input(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch,
                                 Loss& /*loss*/) {
    Stash mlp_stash = split_off(stash, attention_kept(context_));
    const at::Tensor middle_gradient = mlp_backward_input(mlp(), gradient, mlp_stash, microbatch);
    at::Tensor input_gradient = attention_backward_input(attention(), middle_gradient, stash, microbatch);
    append(stash, std::move(mlp_stash));
    return input_gradient;
}

void Block::backward_weight(Stash& stash, const Microbatch& /*microbatch*/) {
    Stash mlp_stash = split_off(stash, kAttentionPending);
    mlp_backward_weight(mlp(), mlp_stash);
    attention_backward_weight(attention(), stash);
}

at::Tensor Block::backward(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch, Loss& /*loss*/) {
    Stash mlp_stash = split_off(stash, attention_kept(context_));
    const BlockHalf mlp = this->mlp(Backward::whole), attention = this->attention(Backward::whole);
    const at::Tensor middle_gradient = mlp_backward_input(mlp, gradient, mlp_stash, microbatch);
    mlp_backward_weight(mlp, mlp_stash);
    at::Tensor input_gradient = attention_backward_input(attention, middle_gradient, stash, microbatch);
    attention_backward_weight(attention, stash);
    return input_gradient;
}

BlockHalf Block::attention(Backward backward) const {
    return {options_, shard_, context_, layer_, views().first(kHalfParameters), backward};
}

BlockHalf Block::mlp(Backward backward) const {
    return {options_, shard_, context_, layer_, views().last(kHalfParameters), backward};
}

}  // namespace smp::models
