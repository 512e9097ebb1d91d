#include "models/gpt2/hugging_face.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace smp::models {

namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 32;  // what follows takes a piece of the stack a level
struct TooDeep {};

/// A sentence where `file` states another value for the key than the model has.
template <typename Value>
void compare(const Json& file, const char* key, Value own, std::vector<std::string>& sentences) {
    const auto stated = file.find(key);
    if (stated == file.end() || stated->is_null() || *stated == Json(own)) return;
    sentences.push_back(fmt::format("{} is {} there, and model.{} is {} here", key, stated->dump(), key, own));
}

}  // namespace

std::string gpt2_config_json(const Gpt2Options& options) {
    constexpr std::int64_t kGpt2Vocabulary = 50257, kEndOfText = 50256;
    // transformers takes what is left out for GPT-2's own token, which another vocabulary may not have.
    const auto end_of_text = options.vocab_size == kGpt2Vocabulary ? Json(kEndOfText) : Json(nullptr);
    nlohmann::ordered_json object = {{"architectures", {"GPT2LMHeadModel"}}};
    for (const auto& [key, value] : kGpt2FixedArithmetic) object[std::string(key)] = Json::parse(value);
    object["n_layer"] = options.n_layer;
    object["n_head"] = options.n_head;
    object["n_embd"] = options.n_embd;
    object["n_positions"] = options.n_positions;
    object["n_ctx"] = options.n_positions;
    object["n_inner"] = inner_width(options);
    object["vocab_size"] = options.vocab_size;
    object["layer_norm_epsilon"] = options.layer_norm_epsilon;
    object["activation_function"] = kGpt2Activations.front();
    object["embd_pdrop"] = options.embd_pdrop;
    object["resid_pdrop"] = options.resid_pdrop;
    object["attn_pdrop"] = options.attn_pdrop;
    object["initializer_range"] = options.initializer_range;
    object["tie_word_embeddings"] = options.tie_word_embeddings;
    object["bos_token_id"] = end_of_text;
    object["eos_token_id"] = end_of_text;
    object["torch_dtype"] = "float32";
    return object.dump(2) + "\n";
}

std::string gpt2_name_in_files(const std::string& parameter) {
    return parameter.starts_with("lm_head.") ? parameter : "transformer." + parameter;
}

std::vector<std::string> gpt2_disagreements(const Gpt2Options& options, const std::string& config_json) {
    Json file;
    try {
        file = Json::parse(config_json, [](int depth, Json::parse_event_t, const Json&) {
            if (depth > kDeepest) throw TooDeep();
            return true;
        });
    } catch (const TooDeep&) {
        return {fmt::format("it nests more than {} objects and lists in each other", kDeepest)};
    } catch (const Json::exception&) {
        file = nullptr;
    }
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
    compare(file, "tie_word_embeddings", options.tie_word_embeddings, sentences);
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
