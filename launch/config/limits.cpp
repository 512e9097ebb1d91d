#include "launch/config/limits.h"

#include "launch/config/config.h"
#include "runtime/job/job_rules.h"

namespace smp::launch {

std::map<std::string, std::string> limits() {
    std::map<std::string, std::string> all;
    for (const auto& checks : runtime::section_checks(Config()))
        all.insert(checks.allowed().begin(), checks.allowed().end());
    return all;
}

}  // namespace smp::launch
