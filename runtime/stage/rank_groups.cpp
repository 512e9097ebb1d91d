#include "runtime/stage/rank_groups.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "comms/progress.h"

namespace smp::runtime {

namespace {

comms::Communicator& group_of(const RankGroups& groups, const partition::Edge& edge) {
    const auto found = groups.edges.find(edge);
    if (found == groups.edges.end())
        throw std::logic_error(fmt::format("no communicator of the edge {} on stage {}: the plan has no message on it",
                                           partition::name_of(edge), groups.at.pp));
    return *found->second;
}

}  // namespace

comms::Work RankGroups::send(const partition::Edge& edge, const at::Tensor& sent) const {
    return group_of(*this, edge).send(sent, 1);
}

comms::Work RankGroups::receive(const partition::Edge& edge, at::Tensor received) const {
    return group_of(*this, edge).receive(std::move(received), 0);
}

void RankGroups::progress() const {
    if (!device->is_cuda()) return world->progress();
    if (in_flight()->step_due()) in_flight()->require_usable();
}

void RankGroups::finish(std::string what) const {
    if (!device->is_cuda()) return;
    device->reached(in_flight(), std::move(what)).wait();
    in_flight()->step_all();  // all that was joined has ended, too
}

RankGroups make_groups(const partition::Plan& plan, comms::Communicator& world, const Placement& placement,
                       comms::NcclSums sums, std::function<void(const std::exception&)> on_failure) {
    const partition::Topology& topology = plan.topology;
    if (world.size() != topology.degrees.world())
        throw std::logic_error(
            fmt::format("make_groups: {} ranks for a topology of {}", world.size(), topology.degrees.world()));
    RankGroups groups;
    groups.topology = topology;
    groups.at = partition::coordinate_of(topology, world.rank());
    groups.world = &world;
    groups.device = std::make_unique<comms::RankDevice>(placement.device);
    if (placement.device.is_cuda() && !placement.is_shared)
        groups.nccl = std::make_unique<comms::NcclGroups>(world, placement.device.index(), sums, std::move(on_failure));
    const auto on_devices = [&](std::unique_ptr<comms::Communicator> members, comms::NcclLinks links) {
        return groups.nccl ? groups.nccl->make(std::move(members), links) : std::move(members);
    };
    const auto [pp, tp, rdp] = groups.at;
    const auto [pp_degree, tp_degree, rdp_degree] = topology.degrees;
    // Integers are summed over everyone; over tensor ranks maxima, and activations that may have 16 bits, of which all
    // receive terms from all; over replicas gradients in fp32.
    using comms::NcclLinks;
    groups.everyone = on_devices(world.split(0, world.rank(), "everyone"), NcclLinks::rings);
    groups.tensor = on_devices(world.split(pp * rdp_degree + rdp, tp, "tensor"), NcclLinks::every_pair);
    groups.data = on_devices(world.split(pp * tp_degree + tp, rdp, "data"),
                             sums == comms::NcclSums::native ? NcclLinks::rings : NcclLinks::every_pair);
    const auto pipeline = world.split(tp * rdp_degree + rdp, pp, "pipeline");
    const partition::StageId here = groups.at.stage();
    for (const auto& round :
         partition::disjoint_rounds(partition::edges_of({&plan.training, &plan.evaluation, &plan.sampling}))) {
        const auto own = std::find_if(round.begin(), round.end(), [&](const partition::Edge& edge) {
            return edge.from == here || edge.to == here;
        });
        const auto color = static_cast<int>(own - round.begin());  // behind the last one: with all who have none
        const std::string name = own == round.end() ? "none" : partition::name_of(*own);
        auto members = pipeline->split(color, own != round.end() && own->to == here ? 1 : 0, name);
        if (own != round.end()) groups.edges.emplace(*own, on_devices(std::move(members), NcclLinks::first_to_second));
    }
    return groups;
}

}  // namespace smp::runtime
