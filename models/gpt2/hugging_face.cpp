#include "models/gpt2/hugging_face.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace smp::models {

namespace {

using Json = nlohmann::json;

/// A sentence where `file` states another number for the key than the model has.
template <typename Number>
void compare(const Json& file, const char* key, Number own, std::vector<std::string>& sentences) {
    const auto stated = file.find(key);
    if (stated == file.end() || stated->is_null() || *stated == Json(own)) return;
    sentences.push_back(fmt::format("{} is {} there, and model.{} is {} here", key, stated->dump(), key, own));
}

}  // namespace

std::vector<std::string> gpt2_disagreements(const Gpt2Options& options, const std::string& config_json) {
    const Json file = Json::parse(config_json, nullptr, /*allow_exceptions=*/false);
    if (!file.is_object()) return {"it is no JSON object"};
    std::vector<std::string> sentences;
    for (const auto& [key, value] : kGpt2FixedArithmetic) {
        const auto stated = file.find(key);
        if (stated != file.end() && *stated != Json::parse(value))
            sentences.push_back(
                fmt::format("{} is {} there, and only {} can be trained here", key, stated->dump(), value));
    }
    const Json activation = file.value("activation_function", Json("gelu_new"));
    if (std::ranges::none_of(kGpt2Activations, [&](std::string_view name) { return activation == name; }))
        sentences.push_back(fmt::format("activation_function is {} there, and only \"gelu_new\" can be trained here",
                                        activation.dump()));
    compare(file, "n_layer", options.n_layer, sentences);
    compare(file, "n_head", options.n_head, sentences);
    compare(file, "n_embd", options.n_embd, sentences);
    compare(file, "n_positions", options.n_positions, sentences);
    compare(file, "vocab_size", options.vocab_size, sentences);
    compare(file, "n_inner", inner_width(options), sentences);
    compare(file, "layer_norm_epsilon", options.layer_norm_epsilon, sentences);
    return sentences;
}

StrayTensor gpt2_meaning_of(const std::string& tensor) {
    constexpr std::string_view kPrefix = "transformer.";
    std::string_view name = tensor;
    if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
    // Constants that old checkpoints carry: the causal mask, and the number that stands for −∞ in it.
    if (name.starts_with("h.") && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")))
        return StrayTensor::constant;
    for (const std::string_view part : {"h.", "wte.", "wpe.", "ln_f.", "lm_head."})
        if (name.starts_with(part)) return StrayTensor::part;
    return StrayTensor::apart;
}

}  // namespace smp::models
