// The first module of GPT-2: token and position embeddings.
#pragma once

#include "models/gpt2/gpt2_segment.h"

namespace smp::models {

/// dropout(wte[token] + wpe[position]). Tensor parallel: each rank looks up the tokens of its rows of the table, the
/// sum over ranks is exact. Keeps nothing from the forward; the gradient, behind the dropout, from backward_input.
/// With Optimize::memory that sum is scattered and the rank goes on with its own rows; backward_weight gathers their
/// gradients, so that positions' are whole on every rank as tokens' are.
class Embedding final : public Gpt2Segment {
  public:
    Embedding(const Gpt2Options& options, SegmentContext context);

    at::Tensor forward(const at::Tensor& input, Stash& stash, const Microbatch& microbatch, Loss& loss) override;
    at::Tensor backward_input(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch,
                              Loss& loss) override;
    void backward_weight(Stash& stash, const Microbatch& microbatch) override;

  private:
    kernels::DropoutKey output_key(const Microbatch& microbatch) const;
};

}  // namespace smp::models
