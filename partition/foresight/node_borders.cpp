#include "partition/foresight/node_borders.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include <fmt/format.h>

namespace smp::partition {

std::vector<int> consecutive_nodes(int ranks, int ranks_per_node) {
    std::vector<int> nodes(static_cast<std::size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank)
        nodes[static_cast<std::size_t>(rank)] = ranks_per_node > 0 ? rank / ranks_per_node : 0;
    return nodes;
}

NodeBorders::NodeBorders(const Topology& topology, std::vector<int> nodes)
    : topology_(topology), nodes_(std::move(nodes)) {
    const int world = topology.degrees.world();
    if (nodes_.size() != static_cast<std::size_t>(world))
        throw std::logic_error(fmt::format("node borders: nodes of {} ranks for {}", nodes_.size(), world));
    for (int rank = 0; rank < world; ++rank) {
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
    for (int tp = 0; tp < degrees.tp; ++tp)
        for (int rdp = 0; rdp < degrees.rdp; ++rdp)
            if (node_of({.pp = one.number(), .tp = tp, .rdp = rdp}) !=
                node_of({.pp = other.number(), .tp = tp, .rdp = rdp}))
                return true;
    return false;
}

int NodeBorders::largest_node() const {
    std::map<int, int> ranks;
    int most = 0;
    for (const int node : nodes_) most = std::max(most, ++ranks[node]);
    return most;
}

}  // namespace smp::partition
