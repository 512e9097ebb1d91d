#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "launch/config/config.h"
#include "launch/config/keys.h"
#include "launch/config/limits.h"
#include "models/gpt2/gpt2_spec.h"

namespace smp::launch {

Config::Config() { model_from_section(); }

void Config::model_from_section() { model = {.spec = std::make_shared<models::Gpt2>(gpt2), .segments = {}}; }

int Config::world() const { return static_cast<int>(partition::stated_world(cluster, parallel)); }

std::string to_json(const Config& config) {
    Json object = Json::object();
    for (const Key& key : configuration_keys()) {
        if (key.write) object[key.section][key.name] = key.write(config);
    }
    return object.dump(2) + '\n';
}

std::string canonical_text(const Config& config) {
    std::vector<std::string> lines;
    for (const Key& key : configuration_keys()) {
        if (key.write) lines.push_back(fmt::format("{}={}\n", key.path(), key.write(config).dump()));
    }
    std::sort(lines.begin(), lines.end());
    return fmt::format("{}", fmt::join(lines, ""));
}

std::string keys_help() {
    const auto limit_of = limits();
    const Config defaults;
    std::string text;
    for (const std::string& section : configuration_sections()) {
        text += fmt::format("{}\n", section);
        for (const Key& key : configuration_keys()) {
            if (key.section != section) continue;
            const auto limit = limit_of.find(key.path());
            const std::string standard = key.required ? "required"
                                         : key.write  ? "default " + key.write(defaults).dump()
                                                      : "";
            const std::string name = key.alias.empty() ? key.name : key.name + ", " + key.alias;
            std::string value = key.type;
            if (limit != limit_of.end()) value += ", " + limit->second;
            if (key.nullable) value += ", or null";
            text += fmt::format("  {:<33}{}\n{:35}{}{}{}\n", name, key.doc, "", value, standard.empty() ? "" : "; ",
                                standard);
        }
    }
    return text;
}

}  // namespace smp::launch
