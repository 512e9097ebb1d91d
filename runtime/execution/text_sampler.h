// Drawing text from the model: which tokens go in, which one comes out.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/data/tokenizer.h"
#include "runtime/job/job.h"

namespace smp::runtime {

class TextSampler {
  public:
    /// Starts from training.sample_prompt (a line break where it is empty), cut to its last `length` tokens. `length`:
    /// tokens that go through the model at once. Throws partition::ConfigError for a prompt with a token that the model
    /// has not.
    TextSampler(const Job& job, std::int64_t length, std::uint64_t step);

    bool complete() const { return static_cast<std::int64_t>(drawn_.size()) == wanted_; }
    /// int64 [1, length]: the last tokens so far, padded behind (causal attention does not look there).
    at::Tensor context() const;
    /// Row of the context whose output says what comes next.
    std::int64_t position() const;
    /// Draws from softmax(logits / sample_temperature), of tokens that the tokenizer has and can write alone, with
    /// randomness keyed by (seed, step, tokens drawn so far); temperature 0 takes the largest. logits: fp32 [1, V].
    std::int64_t draw(const at::Tensor& logits) const;
    void append(std::int64_t token);
    /// Tokens after the prompt.
    const std::vector<std::int64_t>& drawn() const { return drawn_; }

  private:
    std::vector<std::int64_t> text_;
    std::vector<std::int64_t> drawn_;
    std::int64_t length_, wanted_;
    std::int64_t writable_;  // tokens of the tokenizer: a model may have more, to fill up its vocabulary
    double temperature_;
    std::uint64_t seed_, step_;
};

}  // namespace smp::runtime
