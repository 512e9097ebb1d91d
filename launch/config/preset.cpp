#include "launch/config/preset.h"

#include <algorithm>
#include <array>
#include <functional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "launch/config/config.h"
#include "launch/config/json_text.h"
#include "launch/config/keys.h"
#include "launch/config/nearest.h"
#include "models/gpt2/hugging_face.h"
#include "partition/job/option_checks.h"

namespace smp::launch {
namespace {

using partition::Problem;

struct Preset {
    std::string_view name;
    std::int64_t layers, heads, width, positions;
};

// The first four are OpenAI's; the 175B one is GPT-3's (Brown et al. 2020, table 2.1). The others are named by size
// only, as reference jobs are: 30B is 7168 wide with 64 heads and 48 layers; 60B is the same with twice the layers,
// which keeps the shape of every matrix; 10B has the width and heads of GPT-3 6.7B and the layers of 30B. All have
// GPT-2's vocabulary and, beyond GPT-2's own sizes, GPT-3's 2048 positions.
constexpr std::array<Preset, 8> kPresets = {{
    {"gpt2", 12, 12, 768, 1024},          // 124 million parameters
    {"gpt2-medium", 24, 16, 1024, 1024},  // 355 million
    {"gpt2-large", 36, 20, 1280, 1024},   // 774 million
    {"gpt2-xl", 48, 25, 1600, 1024},      // 1.56 billion
    {"gpt2-10b", 48, 32, 4096, 2048},     // 9.9 billion
    {"gpt2-30b", 48, 64, 7168, 2048},     // 30.0 billion
    {"gpt2-60b", 96, 64, 7168, 2048},     // 59.6 billion
    {"gpt2-175b", 96, 96, 12288, 2048},   // 174.6 billion
}};

/// `remedy(key)`: what can be done beside changing the file; empty, or begins with a comma.
models::Gpt2Options read_hugging_face(const std::filesystem::path& file, const std::set<std::string>& overridden,
                                      const std::function<std::string(const Key&)>& remedy,
                                      std::vector<Problem>& problems) {
    const std::string origin = file.string();
    const Json object = read_json_object(file, problems);
    for (const auto& [key, value] : models::kGpt2FixedArithmetic) {
        const std::string name(key);
        if (!object.contains(name) || object.at(name) == Json::parse(value)) continue;
        problems.push_back({.key = name,
                            .message = fmt::format("= {}: must be {}; other models cannot be trained here",
                                                   shown_json(object.at(name)), value),
                            .origin = origin});
    }
    Config config;
    std::set<std::string> unusable;
    for (const Key& key : configuration_keys()) {
        if (key.section != "model" || key.name == "preset" || overridden.contains(key.name)) continue;
        if (!object.contains(key.name)) {
            if (!key.required) continue;
            unusable.insert(key.path());
            problems.push_back({.key = key.name,
                                .message = fmt::format("is missing: {} ({}); add it{}", key.doc, key.type, remedy(key)),
                                .origin = origin});
            continue;
        }
        const Json& value = object.at(key.name);
        const auto refusal = key.read(config, value, file.parent_path());
        if (!refusal) continue;
        unusable.insert(key.path());
        problems.push_back(
            {.key = key.name,
             .message = fmt::format("= {}: {}; change it{}", shown_json(value), refusal->why, remedy(key)),
             .origin = origin});
    }
    partition::OptionChecks checks("model");
    models::check(config.gpt2, checks);
    for (Problem problem : checks.outside_limits()) {
        const std::string name = problem.key.substr(problem.key.find('.') + 1);
        if (unusable.contains(problem.key) || overridden.contains(name)) continue;
        problem.key = name;
        problem.origin = origin;
        problems.push_back(std::move(problem));
    }
    return config.gpt2;
}

}  // namespace

std::vector<std::string> preset_names() {
    std::vector<std::string> names;
    for (const Preset& preset : kPresets) names.emplace_back(preset.name);
    return names;
}

models::Gpt2Options read_preset(const std::string& preset, const std::filesystem::path& base, const std::string& origin,
                                const std::set<std::string>& overridden, std::vector<Problem>& problems) {
    for (const Preset& known : kPresets) {
        if (known.name != preset) continue;
        models::Gpt2Options model;
        model.n_layer = known.layers;
        model.n_head = known.heads;
        model.n_embd = known.width;
        model.n_positions = known.positions;
        return model;
    }
    std::filesystem::path file = (base / preset).lexically_normal();
    std::error_code error;
    if (std::filesystem::is_directory(file, error)) {
        file /= "config.json";
        if (!std::filesystem::exists(file, error)) {
            problems.push_back(
                {.key = "model.preset",
                 .message = fmt::format("= \"{}\": is a folder without a config.json; name the folder of a "
                                        "Hugging Face model, or its config.json",
                                        preset),
                 .origin = origin});
            return {};
        }
    }
    if (!std::filesystem::is_regular_file(file, error)) {
        problems.push_back({.key = "model.preset",
                            .message = fmt::format(
                                "= \"{}\": must be one of {}, or the path of a Hugging Face config.json; {}", preset,
                                fmt::join(preset_names(), ", "), suggestion(nearest(preset, preset_names()))),
                            .origin = origin});
        return {};
    }
    const auto beside = [](const Key& key) { return fmt::format(", or set {} beside model.preset", key.path()); };
    return read_hugging_face(file, overridden, beside, problems);
}

models::Gpt2Options read_hugging_face(const std::filesystem::path& file, std::vector<Problem>& problems) {
    return read_hugging_face(
        file, {}, [](const Key&) { return std::string(); }, problems);
}

}  // namespace smp::launch
