#include "launch/config/limits.h"

namespace smp::launch {
namespace {

template <typename Options>
partition::OptionChecks checks_of(const std::string& section, const Options& options) {
    partition::OptionChecks checks(section);
    check(options, checks);
    return checks;
}

}  // namespace

std::vector<partition::OptionChecks> section_checks(const Config& config) {
    return {checks_of("model", config.model),       checks_of("parallel", config.parallel),
            checks_of("training", config.training), checks_of("data", config.data),
            checks_of("cluster", config.cluster),   checks_of("logging", config.logging)};
}

std::map<std::string, std::string> limits() {
    std::map<std::string, std::string> all;
    for (const auto& checks : section_checks({})) all.insert(checks.allowed().begin(), checks.allowed().end());
    return all;
}

}  // namespace smp::launch
