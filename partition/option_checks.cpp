#include "partition/option_checks.h"

namespace smp::partition {

std::string shown(const std::string& value) { return '"' + value + '"'; }
std::string shown(bool value) { return value ? "true" : "false"; }

void OptionChecks::add(const std::string& key, const std::string& value, bool holds, const std::string& allowed,
                       const std::string& remedy) {
    allowed_[prefix_ + key] = allowed;
    if (!holds) report(key, value, "must be " + allowed, remedy);
}

void OptionChecks::report(const std::string& key, const std::string& value, const std::string& why,
                          const std::string& remedy) {
    problems_.push_back(
        {.key = prefix_ + key, .message = fmt::format("= {}: {}{}{}", value, why, remedy.empty() ? "" : "; ", remedy)});
}

}  // namespace smp::partition
