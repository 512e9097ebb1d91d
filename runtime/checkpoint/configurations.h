// What may differ between the configuration that a checkpoint was made with and the one that goes on from it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smp::runtime {

/// The value of a key in lines "section.key=value", as JSON, if it is there.
std::optional<std::string_view> value_in(std::string_view configuration, std::string_view key);

/// One line "key: before -> now" for each key whose value differs.
struct ConfigurationChange {
    std::vector<std::string> refused;  // the model's function and shape, and the tokens' meaning
    std::vector<std::string> allowed;  // layout, batch, learning rate, data, …
};

/// Both as sorted lines "section.key=value" (Job::canonical_text). Keys that only one of the two has are left out.
ConfigurationChange change_between(std::string_view before, std::string_view now);

}  // namespace smp::runtime
