// The communicators of one rank, one for each purpose, so that traffic of different kinds never waits behind each
// other.
#pragma once

#include <memory>

#include "comms/communicator.h"
#include "partition/job/topology.h"

namespace smp::runtime {

struct RankGroups {
    partition::Topology topology;
    partition::Coordinate at;
    comms::Communicator* world = nullptr;              // borrowed
    std::unique_ptr<comms::Communicator> tensor;       // ranks of equal stage and replica
    std::unique_ptr<comms::Communicator> data;         // ranks of equal stage and shard
    std::unique_ptr<comms::Communicator> activations;  // the pipeline: ranks of equal shard and replica, downwards
    std::unique_ptr<comms::Communicator> gradients;    // the same ranks, upwards
    std::unique_ptr<comms::Communicator> tied;         // the same ranks, gradients of shared parameters

    /// Moves on whatever is in flight. Called at operator boundaries.
    void progress();
};

/// Collective over `world`, whose size must be the topology's.
RankGroups make_groups(const partition::Topology& topology, comms::Communicator& world);

}  // namespace smp::runtime
