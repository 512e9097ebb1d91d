// A layer of GPT-2, pre-LayerNorm: x + attention(ln_1(x)), then the same with the MLP and ln_2.
#pragma once

#include "models/gpt2/gpt2_block_half.h"
#include "models/gpt2/gpt2_segment.h"

namespace smp::models {

/// Nothing is computed twice, unless it is cheap. What is kept for the weight part are inputs of the linear layers and
/// gradients of their outputs.
class Block final : public Gpt2Segment {
  public:
    /// Module layer + 1.
    Block(const Gpt2Options& options, int layer, SegmentContext context);

    at::Tensor forward(const at::Tensor& input, Stash& stash, const Microbatch& microbatch, Loss& loss) override;
    at::Tensor backward_input(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch,
                              Loss& loss) override;
    void backward_weight(Stash& stash, const Microbatch& microbatch) override;
    at::Tensor backward(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch, Loss& loss) override;

  private:
    BlockHalf attention(Backward backward = Backward::split) const;
    BlockHalf mlp(Backward backward = Backward::split) const;

    const int layer_;
};

}  // namespace smp::models
