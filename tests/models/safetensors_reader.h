// Reads the golden data: Hugging Face's safetensors (8 bytes length, JSON header, raw data), fp32 only, and raw tokens.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "models/gpt2/options.h"

namespace smp::models::testing {

using NamedTensors = std::map<std::string, at::Tensor>;

/// All tensors of a file, on the CPU. Names lose "transformer.".
NamedTensors read_safetensors(const std::string& path);

/// A golden case of tests/golden: model, first batch, what the independent implementation found.
struct GoldenCase {
    Gpt2Options options;
    std::int64_t batch = 0, length = 0;
    NamedTensors weights;    // initial
    NamedTensors reference;  // "logits" [2, T, V], "grad.<name>"
    at::Tensor inputs;       // int64 [B, T], of the first step
    at::Tensor targets;
    double loss = 0;  // of the first step, fp64
    double loss_drift = 0, logits_drift = 0,
           gradient_drift = 0;  // how far that implementation in fp32 is from itself in fp64
};
GoldenCase golden_case(const std::string& name);

}  // namespace smp::models::testing
