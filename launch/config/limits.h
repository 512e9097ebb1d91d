// What the rooms allow for each key.
#pragma once

#include <map>
#include <string>

namespace smp::launch {

/// Path of a key to its limit, such as "from 1 to 4096", for keys that have one besides their type.
std::map<std::string, std::string> limits();

}  // namespace smp::launch
