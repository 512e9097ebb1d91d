// The communicators of one rank, one for each purpose, so that traffic of different kinds never waits behind each
// other.
#pragma once

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "comms/backends/nccl.h"
#include "comms/communicator.h"
#include "comms/device/rank_device.h"
#include "partition/job/topology.h"
#include "partition/plan/edges.h"
#include "partition/plan/plan.h"

namespace smp::runtime {

/// Where a rank computes.
struct Placement {
    c10::Device device{c10::kCPU};
    bool is_shared = false;  // by several ranks, which are threads: they reach each other's memory themselves
};

struct RankGroups {
    partition::Topology topology;
    partition::Coordinate at;
    comms::Communicator* world = nullptr;  // borrowed; CPU tensors: all that ranks agree on
    std::unique_ptr<comms::RankDevice> device;
    std::unique_ptr<comms::NcclGroups> nccl;        // of ranks that have a CUDA device each
    std::unique_ptr<comms::Communicator> everyone;  // all ranks, for tensors of their devices
    std::unique_ptr<comms::Communicator> tensor;    // ranks of equal stage and replica
    std::unique_ptr<comms::Communicator> data;      // ranks of equal stage and shard
    /// The sending and the receiving rank of the own pipeline (equal shard and replica), in this order; those edges
    /// that the plan uses and that begin or end here.
    std::map<partition::Edge, std::unique_ptr<comms::Communicator>> edges;

    /// Asynchronous, as the communicator's. Throws std::logic_error for an edge that the plan does not use.
    comms::Work send(const partition::Edge& edge, const at::Tensor& sent) const;
    comms::Work receive(const partition::Edge& edge, at::Tensor received) const;

    /// What moves between devices, and how this rank waits for it.
    const std::shared_ptr<comms::Progress>& in_flight() const { return tensor->in_flight(); }
    /// Moves on whatever is in flight. Called at operator boundaries: a device moves on by itself, and is looked at for
    /// failures now and then.
    void progress() const;
    /// Returns when the device has done what it was given: the one wait of a step. `what` names it. Blocking, with the
    /// world's limit.
    void finish(std::string what) const;
};

/// Collective over `world`, whose size must be that of the plan's topology. Edges without a stage in common are split
/// off together: their number does not grow with the stages. `on_failure`: as that of comms::NcclGroups. Throws
/// CommunicationError where there is no such device.
RankGroups make_groups(const partition::Plan& plan, comms::Communicator& world, const Placement& placement = {},
                       comms::NcclSums sums = comms::NcclSums::in_rank_order,
                       std::function<void(const std::exception&)> on_failure = {});

}  // namespace smp::runtime
