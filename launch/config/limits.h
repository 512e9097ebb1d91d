// What the rooms allow for each key.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "launch/config/config.h"
#include "partition/job/option_checks.h"

namespace smp::launch {

/// The rooms' own checks of their sections, one element a section.
std::vector<partition::OptionChecks> section_checks(const Config& config);

/// Path of a key to its limit, such as "from 1 to 4096", for keys that have one besides their type.
std::map<std::string, std::string> limits();

}  // namespace smp::launch
