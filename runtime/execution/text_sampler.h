// Drawing text from the model: which tokens go in, which one comes out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/data/tokenizer.h"
#include "runtime/job/job.h"

namespace smp::runtime {

/// What text is asked for.
struct TextRequest {
    std::string prompt;                                  // empty: a line break
    std::string prompt_name = "training.sample_prompt";  // what a message calls it
    std::int64_t tokens = 0;                             // after the prompt
    double temperature = 1;                              // 0: the likeliest token each time
    std::int64_t top_k = 0;            // of the likeliest so many alone, and what equals them; 0: of all
    std::uint64_t seed = 1, step = 0;  // equal ones draw equal text
};

/// What section `training` asks for after `step` steps.
TextRequest text_request(const TrainingOptions& training, std::int64_t step);

class TextSampler {
  public:
    /// Starts from the prompt, cut to its last `length` tokens: as many as go through the model at once. `job` gives
    /// tokenizer and vocabulary. Throws partition::ConfigError for a prompt with a token that the model has not.
    TextSampler(TextRequest request, const Job& job, std::int64_t length);

    bool complete() const { return static_cast<std::int64_t>(drawn_.size()) == request_.tokens; }
    /// int64 [1, length]: the last tokens so far, padded behind (causal attention does not look there).
    at::Tensor context() const;
    /// Row of the context whose output says what comes next.
    std::int64_t position() const;
    /// Draws from softmax(logits / temperature), of tokens that the tokenizer has and can write alone, with
    /// randomness keyed by (seed, step, tokens drawn so far); temperature 0 takes the largest. logits: fp32 [1, V].
    std::int64_t draw(const at::Tensor& logits) const;
    void append(std::int64_t token);
    /// Tokens after the prompt.
    const std::vector<std::int64_t>& drawn() const { return drawn_; }

  private:
    /// The least logit that is drawn from.
    float threshold(std::span<const float> logits) const;

    std::vector<std::int64_t> text_;
    std::vector<std::int64_t> drawn_;
    TextRequest request_;
    std::int64_t length_;
    std::int64_t writable_;  // tokens of the tokenizer: a model may have more, to fill up its vocabulary
};

}  // namespace smp::runtime
