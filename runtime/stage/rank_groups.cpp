#include "runtime/stage/rank_groups.h"

#include <stdexcept>

#include <fmt/format.h>

namespace smp::runtime {

void RankGroups::progress() {
    activations->progress();
    gradients->progress();
    tied->progress();
    data->progress();
}

RankGroups make_groups(const partition::Topology& topology, comms::Communicator& world) {
    if (world.size() != topology.degrees.world())
        throw std::logic_error(
            fmt::format("make_groups: {} ranks for a topology of {}", world.size(), topology.degrees.world()));
    RankGroups groups;
    groups.topology = topology;
    groups.at = partition::coordinate_of(topology, world.rank());
    groups.world = &world;
    const auto [pp, tp, rdp] = groups.at;
    const auto [pp_degree, tp_degree, rdp_degree] = topology.degrees;
    groups.tensor = world.split(pp * rdp_degree + rdp, tp, "tensor");
    groups.data = world.split(pp * tp_degree + tp, rdp, "data");
    const int pipeline = tp * rdp_degree + rdp;
    groups.activations = world.split(pipeline, pp, "activations");
    groups.gradients = groups.activations->split(0, pp, "gradients");
    groups.tied = groups.activations->split(0, pp, "tied");
    return groups;
}

}  // namespace smp::runtime
