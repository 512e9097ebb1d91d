// The communicators of one rank, one for each purpose, so that traffic of different kinds never waits behind each
// other.
#pragma once

#include <map>
#include <memory>

#include "comms/communicator.h"
#include "partition/job/topology.h"
#include "partition/plan/edges.h"
#include "partition/plan/plan.h"

namespace smp::runtime {

struct RankGroups {
    partition::Topology topology;
    partition::Coordinate at;
    comms::Communicator* world = nullptr;         // borrowed
    std::unique_ptr<comms::Communicator> tensor;  // ranks of equal stage and replica
    std::unique_ptr<comms::Communicator> data;    // ranks of equal stage and shard
    /// The sending and the receiving rank of the own pipeline (equal shard and replica), in this order; those edges
    /// that the plan uses and that begin or end here.
    std::map<partition::Edge, std::unique_ptr<comms::Communicator>> edges;

    /// Asynchronous, as the communicator's. Throws std::logic_error for an edge that the plan does not use.
    comms::Work send(const partition::Edge& edge, const at::Tensor& sent) const;
    comms::Work receive(const partition::Edge& edge, at::Tensor received) const;

    /// Moves on whatever is in flight. Called at operator boundaries.
    void progress() { world->progress(); }
};

/// Collective over `world`, whose size must be that of the plan's topology. Edges without a stage in common are split
/// off together: their number does not grow with the stages.
RankGroups make_groups(const partition::Plan& plan, comms::Communicator& world);

}  // namespace smp::runtime
