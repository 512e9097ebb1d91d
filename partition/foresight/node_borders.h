// Where borders between nodes run through a job: what crosses one is on a slower link.
#pragma once

#include <set>
#include <utility>
#include <vector>

#include "partition/job/ids.h"
#include "partition/job/topology.h"

namespace smp::partition {

/// The node of each rank where consecutive ones share a node, so many each; 0: all are on one.
std::vector<int> consecutive_nodes(int ranks, int ranks_per_node);

class NodeBorders {
  public:
    /// `nodes`: of each rank, any numbers. Throws std::logic_error for another number of ranks than the topology's.
    NodeBorders(const Topology& topology, std::vector<int> nodes);

    /// Whether some group of a stage's ranks along the axis (tensor or data) lies on several nodes.
    bool cut(Axis axis, StageId stage) const { return cut_.contains({axis, stage}); }
    /// Of any stage.
    bool cut(Axis axis) const;
    /// Whether some rank of one stage and its counterpart (equal shard and replica) of the other lie on different ones.
    bool lie_between(StageId one, StageId other) const;
    /// The most ranks that share a node.
    int largest_node() const;

  private:
    int node_of(const Coordinate& at) const { return nodes_[static_cast<std::size_t>(rank_of(topology_, at))]; }

    Topology topology_;
    std::vector<int> nodes_;  // by rank
    std::set<std::pair<Axis, StageId>> cut_;
};

}  // namespace smp::partition
