// GPT-2 as a page of ATen formulas for autograd: the oracle of the segments.
#pragma once

#include <string>

#include <ATen/core/Tensor.h>

#include "models/gpt2/options.h"
#include "tests/models/safetensors_reader.h"

namespace smp::models::testing {

/// Random weights of a model by Hugging Face's names (no lm_head.weight where it is tied). Biases and gains are random
/// too, so that a lost one shows.
NamedTensors random_weights(const Gpt2Options& options, at::ScalarType dtype, std::uint64_t seed);

/// Leaves that require gradients, of another dtype.
NamedTensors leaves(const NamedTensors& weights, at::ScalarType dtype);

/// tokens [B, T] → [B·T, h].
at::Tensor reference_embedding(const Gpt2Options& options, const NamedTensors& weights, const at::Tensor& tokens);
/// x [B·T, h] → [B·T, h].
at::Tensor reference_block(const Gpt2Options& options, const NamedTensors& weights, int layer, const at::Tensor& x,
                           std::int64_t length);
/// x [B·T, h] → logits [B·T, V].
at::Tensor reference_logits(const Gpt2Options& options, const NamedTensors& weights, const at::Tensor& x);
/// Sum over the tokens of −log p(target).
at::Tensor reference_loss_sum(const at::Tensor& logits, const at::Tensor& targets);

struct ReferenceRun {
    double loss = 0;         // mean
    at::Tensor logits;       // [B·T, V]
    NamedTensors gradients;  // of the mean
};
ReferenceRun run_reference(const Gpt2Options& options, const NamedTensors& weights, const at::Tensor& inputs,
                           const at::Tensor& targets, at::ScalarType dtype);

}  // namespace smp::models::testing
