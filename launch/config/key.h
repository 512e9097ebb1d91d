// One key of a configuration: its name, what its value may be, and where the value goes.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "launch/config/config.h"

namespace smp::launch {

using Json = nlohmann::ordered_json;

/// Why a value was not taken: "must be an integer", and what to do about it (may be empty).
struct Refusal {
    std::string why;
    std::string remedy = {};
};

struct Key {
    std::string section;
    std::string name;
    std::string alias = {};  // another name for it; empty: none
    std::string type;        // completes "must be …": "an integer"
    bool nullable = false;   // null too, for "not given"
    std::string doc;
    bool required = false;
    bool takes_text = false;  // a value that --set gives bare is text, whatever else it could be read as
    /// Puts a value into the configuration, or says why not. Relative paths start at `base`.
    std::function<std::optional<Refusal>(Config&, const Json& value, const std::filesystem::path& base)> read;
    /// The value in a resolved configuration. Empty for keys that are no part of one: `model.preset`, and those which
    /// are accepted although they change nothing.
    std::function<Json(const Config&)> write = {};

    std::string path() const { return section + '.' + name; }
};

}  // namespace smp::launch
