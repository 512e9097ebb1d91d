// Section `model` of a configuration: GPT-2 under Hugging Face's names. Field names are the configuration's keys.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "partition/job/option_checks.h"
#include "partition/job/problem.h"

namespace smp::models {

/// The activation is always `gelu_new` (the tanh form).
struct Gpt2Options {
    std::int64_t n_layer = 0;  // required, as the next two; 0: not given
    std::int64_t n_head = 0;
    std::int64_t n_embd = 0;
    std::int64_t n_positions = 1024;
    std::int64_t vocab_size = 50257;
    std::optional<std::int64_t> n_inner;  // width of the MLP; not given: see inner_width()
    double layer_norm_epsilon = 1e-5;
    bool tie_word_embeddings = true;
    double embd_pdrop = 0;  // dropout probabilities, 0 ≤ p < 1
    double resid_pdrop = 0;
    double attn_pdrop = 0;
    double initializer_range = 0.02;  // standard deviation of initial weights

    bool operator==(const Gpt2Options&) const = default;
};

/// What each field may be and, beside it, what these options break. Keys are paths: "model.n_head".
void check(const Gpt2Options& options, partition::OptionChecks& checks);
std::vector<partition::Problem> validate(const Gpt2Options& options);

/// n_inner as given, else 4 · n_embd.
std::int64_t inner_width(const Gpt2Options& options);

/// n_embd / n_head.
std::int64_t head_width(const Gpt2Options& options);

}  // namespace smp::models
