// What this process knows of itself: where it runs, and what its environment says.
#pragma once

#include <optional>
#include <string>

namespace smp::comms {

/// What the machine that it runs on calls itself.
std::string host_name();

/// A variable of the environment that is a whole number and nothing else.
std::optional<int> number_in_environment(const char* variable);

}  // namespace smp::comms
