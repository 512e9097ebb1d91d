#include "models/gpt2/options_text.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace smp::models {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kSection = "model.";
constexpr std::string_view kActivation = "activation_function";  // a key with one value

/// f(key, member) for each, in the order of their names.
template <typename Options, typename F>
void for_each_option(Options& options, const F& f) {
    f("attn_pdrop", options.attn_pdrop);
    f("embd_pdrop", options.embd_pdrop);
    f("initializer_range", options.initializer_range);
    f("layer_norm_epsilon", options.layer_norm_epsilon);
    f("n_embd", options.n_embd);
    f("n_head", options.n_head);
    f("n_inner", options.n_inner);
    f("n_layer", options.n_layer);
    f("n_positions", options.n_positions);
    f("resid_pdrop", options.resid_pdrop);
    f("tie_word_embeddings", options.tie_word_embeddings);
    f("vocab_size", options.vocab_size);
}

bool read(const Json& value, std::int64_t& out) {
    if (value.is_number_integer()) out = value.get<std::int64_t>();
    return value.is_number_integer();
}
bool read(const Json& value, std::optional<std::int64_t>& out) { return read(value, out.emplace()); }
bool read(const Json& value, double& out) {
    if (value.is_number()) out = value.get<double>();
    return value.is_number();
}
bool read(const Json& value, bool& out) {
    if (value.is_boolean()) out = value.get<bool>();
    return value.is_boolean();
}

Json written(const std::optional<std::int64_t>& value) { return *value; }
template <typename Value>
Json written(const Value& value) {
    return value;
}

/// Values of section `model` by their keys.
std::map<std::string_view, std::string_view> values_in(std::string_view text) {
    std::map<std::string_view, std::string_view> values;
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const auto equals = line.find('=');
        if (!line.starts_with(kSection) || equals == std::string_view::npos) continue;
        values.emplace(line.substr(kSection.size(), equals - kSection.size()), line.substr(equals + 1));
    }
    return values;
}

}  // namespace

std::string gpt2_text(const Gpt2Options& options) {
    Gpt2Options resolved = options;
    resolved.n_inner = inner_width(options);
    std::string text = fmt::format("{}{}={}\n", kSection, kActivation, Json("gelu_new").dump());
    for_each_option(resolved, [&](std::string_view key, const auto& value) {
        text += fmt::format("{}{}={}\n", kSection, key, written(value).dump());
    });
    return text;
}

Gpt2Options gpt2_options_in(std::string_view text, std::vector<partition::Problem>& problems) {
    Gpt2Options options;
    const std::size_t before = problems.size();
    auto values = values_in(text);
    const auto add = [&](std::string_view key, const std::string& message) {
        problems.push_back({.key = fmt::format("{}{}", kSection, key), .message = message});
    };
    for_each_option(options, [&](std::string_view key, auto& member) {
        const auto value = values.find(key);
        if (value == values.end()) return add(key, "is missing");
        if (!read(Json::parse(value->second, nullptr, /*allow_exceptions=*/false), member))
            add(key, fmt::format("= {}: is of another type", value->second));
        values.erase(value);
    });
    if (const auto activation = values.find(kActivation); activation != values.end()) {
        if (activation->second != "\"gelu_new\"")
            add(kActivation, fmt::format("= {}: must be \"gelu_new\"", activation->second));
        values.erase(activation);
    }
    for (const auto& [key, value] : values) add(key, fmt::format("= {}: is not known here", value));
    if (problems.size() == before)
        for (const partition::Problem& problem : validate(options)) problems.push_back(problem);
    return options;
}

}  // namespace smp::models
