// GPT-2 in Hugging Face's files: what a config.json may say, and what tensors mean that are no parameters here.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "models/gpt2/options.h"
#include "models/model_spec.h"

namespace smp::models {

/// A key by which a config.json asks for arithmetic, and the only value of it that is here, as JSON.
struct FixedArithmetic {
    std::string_view key;
    std::string_view value;
};
inline constexpr std::array kGpt2FixedArithmetic = {
    FixedArithmetic{"model_type", "\"gpt2\""},
    FixedArithmetic{"scale_attn_weights", "true"},
    FixedArithmetic{"scale_attn_by_inverse_layer_idx", "false"},
    FixedArithmetic{"add_cross_attention", "false"},
};

/// Names of the one activation that is here, the tanh form of GELU: our own first.
inline constexpr std::array<std::string_view, 3> kGpt2Activations = {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"};

/// The config.json of a folder of weights, by which transformers makes a GPT2LMHeadModel. Loading it as model.preset
/// gives the options again.
std::string gpt2_config_json(const Gpt2Options& options);

/// The name that transformers writes a parameter under.
std::string gpt2_name_in_files(const std::string& parameter);

/// As ModelSpec::disagreements and ModelSpec::meaning_of.
std::vector<std::string> gpt2_disagreements(const Gpt2Options& options, const std::string& config_json);
StrayTensor gpt2_meaning_of(const std::string& tensor);

}  // namespace smp::models
