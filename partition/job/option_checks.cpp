#include "partition/job/option_checks.h"

namespace smp::partition {

std::string shown(const std::string& value) { return '"' + value + '"'; }
std::string shown(bool value) { return value ? "true" : "false"; }

std::vector<Problem> OptionChecks::problems() const {
    std::vector<Problem> all = outside_limits_;
    all.insert(all.end(), conflicts_.begin(), conflicts_.end());
    return all;
}

void OptionChecks::add(const std::string& key, const std::string& value, bool holds, const std::string& allowed,
                       const std::string& remedy) {
    allowed_[prefix_ + key] = allowed;
    if (!holds) outside_limits_.push_back(problem(key, value, "must be " + allowed, remedy));
}

Problem OptionChecks::problem(const std::string& key, const std::string& value, const std::string& why,
                              const std::string& remedy) const {
    return {.key = prefix_ + key,
            .message = fmt::format("= {}: {}{}{}", value, why, remedy.empty() ? "" : "; ", remedy)};
}

}  // namespace smp::partition
