// Which device each rank computes on.
#pragma once

#include <string>
#include <vector>

#include "comms/communicator.h"
#include "partition/job/options.h"
#include "runtime/stage/rank_groups.h"

namespace smp::runtime {

/// What there is to choose from, by rank.
struct DevicesOfRanks {
    std::vector<std::string> hosts;
    std::vector<std::vector<std::string>> cuda_devices;  // that the rank sees, by what tells them apart on its host
    bool are_threads = false;                            // of one process
};

/// The placement of each rank: on a host the ranks take devices in their order, each the first that it sees and none
/// has before it: whether all see all of the host's devices or a launcher has given each its own. cluster.share_devices
/// lets them take turns where there are too few. With cluster.device `auto` all ranks compute on the CPU unless each
/// has a device of its own. Throws partition::ConfigError where `cuda` asks for what is not there. Pure.
std::vector<Placement> placements(const DevicesOfRanks& ranks, const partition::ClusterOptions& cluster);

/// This rank's. Collective; the same error on every rank.
Placement choose_placement(comms::Communicator& world, const partition::ClusterOptions& cluster);

}  // namespace smp::runtime
