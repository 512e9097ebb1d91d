#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "launch/config/config.h"
#include "launch/config/keys.h"
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

}  // namespace smp::launch
