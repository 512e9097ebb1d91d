// Where borders between nodes run through a job: what crosses one is on a slower link.
#pragma once

#include <set>
#include <utility>

#include "partition/job/ids.h"
#include "partition/job/topology.h"

namespace smp::partition {

/// Consecutive ranks share a node, so many each; 0: all are on one.
class NodeBorders {
  public:
    NodeBorders(const Topology& topology, int ranks_per_node);

    /// Whether some group of a stage's ranks along the axis (tensor or data) lies on several nodes.
    bool cut(Axis axis, StageId stage) const { return cut_.contains({axis, stage}); }
    /// Of any stage.
    bool cut(Axis axis) const;
    /// Whether some rank of one stage and its counterpart (equal shard and replica) of the other lie on different ones.
    bool lie_between(StageId one, StageId other) const;

  private:
    int node_of(const Coordinate& at) const { return rank_of(topology_, at) / ranks_per_node_; }

    Topology topology_;
    int ranks_per_node_;
    std::set<std::pair<Axis, StageId>> cut_;
};

}  // namespace smp::partition
