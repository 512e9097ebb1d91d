#include "runtime/checkpoint/configurations.h"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

namespace smp::runtime {

namespace {

std::map<std::string_view, std::string_view> values_of(std::string_view text) {
    std::map<std::string_view, std::string_view> values;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        if (const auto equals = line.find('='); equals != std::string_view::npos)
            values.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
    return values;
}

/// Of section `model`, but a matter of training: no tensor and no evaluation depends on it.
constexpr std::array<std::string_view, 4> kOfTraining = {"model.attn_pdrop", "model.embd_pdrop", "model.resid_pdrop",
                                                         "model.initializer_range"};
constexpr std::array<std::string_view, 2> kOfTokens = {"data.tokenizer", "data.tokenizer_file"};

bool must_stay(std::string_view key) {
    if (std::ranges::find(kOfTokens, key) != kOfTokens.end()) return true;
    return key.starts_with("model.") && std::ranges::find(kOfTraining, key) == kOfTraining.end();
}

}  // namespace

std::optional<std::string_view> value_in(std::string_view configuration, std::string_view key) {
    const auto values = values_of(configuration);
    const auto value = values.find(key);
    return value == values.end() ? std::nullopt : std::optional(value->second);
}

ConfigurationChange change_between(std::string_view before, std::string_view now) {
    ConfigurationChange change;
    const auto earlier = values_of(before);
    for (const auto& [key, value] : values_of(now)) {
        const auto other = earlier.find(key);
        if (other == earlier.end() || other->second == value) continue;
        (must_stay(key) ? change.refused : change.allowed)
            .push_back(fmt::format("{}: {} -> {}", key, other->second, value));
    }
    return change;
}

}  // namespace smp::runtime
