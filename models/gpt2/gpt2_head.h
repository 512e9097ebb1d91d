// The last module of GPT-2: final LayerNorm, logits, loss.
#pragma once

#include "models/gpt2/gpt2_segment.h"
#include "models/gpt2/gpt2_stash.h"

namespace smp::models {

/// Logits exist for logits_rows() rows at a time only, of this tensor rank's part of the vocabulary: their maxima and
/// sums of exponentials are reduced over the tensor group (Megatron-LM's vocabulary-parallel cross entropy, §3), then
/// they are overwritten by their gradient. So the loss and the weight gradient of the head are made in backward_input,
/// chunk by chunk, and the LayerNorm's with them: nothing is left for backward_weight. The gradient that backward_input
/// is given is ignored (the loss starts it, scaled by Microbatch::gradient_scale). With Optimize::memory the LayerNorm
/// sees the rank's own rows; what it makes is gathered before the logits, its gradient scattered.
class Head final : public Gpt2Segment {
  public:
    Head(const Gpt2Options& options, SegmentContext context);

    at::Tensor forward(const at::Tensor& input, Stash& stash, const Microbatch& microbatch, Loss& loss) override;
    at::Tensor backward_input(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch,
                              Loss& loss) override;
    void backward_weight(Stash& stash, const Microbatch& microbatch) override;

    at::Tensor logits(const at::Tensor& input, std::int64_t first, std::int64_t count) override;

  private:
    struct Chunk {
        at::Tensor exponentials;  // [n, V']: exp(logit − max of the row)
        at::Tensor sums;          // [2, n], over the tensor group: see kernels::exponential_sums
        at::Tensor targets;       // [n]
    };
    Chunk chunk(const at::Tensor& rows, const at::Tensor& targets);
    std::int64_t rows_at_once() const { return logits_rows(context_.storage, shard_.vocabulary); }
};

}  // namespace smp::models
