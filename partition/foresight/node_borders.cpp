#include "partition/foresight/node_borders.h"

#include <algorithm>

namespace smp::partition {

NodeBorders::NodeBorders(const Topology& topology, int ranks_per_node)
    : topology_(topology),
      ranks_per_node_(ranks_per_node > 0 ? ranks_per_node : std::max(1, topology.degrees.world())) {
    if (topology.degrees.world() <= ranks_per_node_) return;
    for (int rank = 0; rank < topology.degrees.world(); ++rank) {
        const Coordinate at = coordinate_of(topology, rank);
        Coordinate first_shard = at, first_replica = at;
        first_shard.tp = first_replica.rdp = 0;
        if (node_of(first_shard) != node_of(at)) cut_.insert({Axis::tensor, StageId(at.pp)});
        if (node_of(first_replica) != node_of(at)) cut_.insert({Axis::data, StageId(at.pp)});
    }
}

bool NodeBorders::cut(Axis axis) const {
    return std::any_of(cut_.begin(), cut_.end(), [&](const auto& entry) { return entry.first == axis; });
}

bool NodeBorders::lie_between(StageId one, StageId other) const {
    const Degrees& degrees = topology_.degrees;
    if (degrees.world() <= ranks_per_node_) return false;
    for (int tp = 0; tp < degrees.tp; ++tp)
        for (int rdp = 0; rdp < degrees.rdp; ++rdp)
            if (node_of({.pp = one.number(), .tp = tp, .rdp = rdp}) !=
                node_of({.pp = other.number(), .tp = tp, .rdp = rdp}))
                return true;
    return false;
}

}  // namespace smp::partition
