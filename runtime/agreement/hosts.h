// Where ranks really are, whatever the configuration says of nodes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "comms/communicator.h"

namespace smp::runtime {

/// Equal names get equal numbers, from 0 in the order of their first appearance.
std::vector<int> numbered(std::span<const std::string> names);

/// What each rank's host calls itself. Collective, blocking.
std::vector<std::string> host_names(comms::Communicator& world);

/// The host of each rank, numbered. Collective, blocking: gathers the names that hosts have for themselves.
std::vector<int> hosts_of_ranks(comms::Communicator& world);

}  // namespace smp::runtime
