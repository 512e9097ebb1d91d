// A configuration that is valid and short, and what to do with variants of it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/config/config.h"
#include "partition/job/problem.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::testing {

using Json = nlohmann::ordered_json;

inline Json small_config() {
    return Json::parse(R"({
        "model": {"n_layer": 4, "n_head": 4, "n_embd": 32},
        "training": {"steps": 10, "global_batch_size": 8},
        "data": {"train": "text.txt"}
    })");
}

/// Small enough to say `with(…, "parallel", "microbatches", 2)`.
inline Json with(Json config, const std::string& section, const std::string& key, const Json& value) {
    config[section][key] = value;
    return config;
}

inline launch::Config load(const Json& config, const std::vector<std::string>& sets = {},
                           std::optional<int> ranks = std::nullopt) {
    const ScratchFolder folder;
    return launch::load_config(folder.write("job.json", config.dump(2)), sets, ranks);
}

/// What is wrong with it; empty if it loads.
inline std::vector<partition::Problem> problems_of(const Json& config, const std::vector<std::string>& sets = {},
                                                   std::optional<int> ranks = std::nullopt) {
    try {
        load(config, sets, ranks);
        return {};
    } catch (const partition::ConfigError& error) {
        return error.problems();
    }
}

/// "key message" of the only problem; a list of all of them if there are more or none.
inline std::string only_problem(const std::vector<partition::Problem>& problems) {
    if (problems.size() == 1) return problems.front().key + ' ' + problems.front().message;
    std::string text = fmt::format("{} problems:", problems.size());
    for (const auto& problem : problems) text += '\n' + problem.key + ' ' + problem.message;
    return text;
}

inline std::vector<std::string> keys_of(const std::vector<partition::Problem>& problems) {
    std::vector<std::string> keys;
    for (const auto& problem : problems) keys.push_back(problem.key);
    return keys;
}

}  // namespace smp::testing
