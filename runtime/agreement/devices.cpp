#include "runtime/agreement/devices.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "comms/device/rank_device.h"
#include "comms/this_process.h"
#include "partition/job/problem.h"
#include "runtime/agreement/agreement.h"

namespace smp::runtime {

namespace {

[[noreturn]] void refuse(const std::string& what) {
    throw partition::ConfigError(partition::Problem{"cluster.device", "= \"cuda\": " + what});
}

}  // namespace

std::vector<Placement> placements(const DevicesOfRanks& ranks, const partition::ClusterOptions& cluster) {
    const std::size_t count = ranks.hosts.size();
    std::vector<Placement> all(count);
    if (cluster.device == partition::Device::cpu) return all;
    std::map<std::string, int> ranks_of_host;
    std::vector<int> place_on_host;
    for (const std::string& host : ranks.hosts) place_on_host.push_back(ranks_of_host[host]++);
    const bool is_asked_for = cluster.device == partition::Device::cuda;
    for (std::size_t rank = 0; rank < count; ++rank) {
        const int devices = ranks.cuda_devices[rank], here = ranks_of_host[ranks.hosts[rank]];
        if (devices > 0 && (here <= devices || cluster.share_devices)) continue;
        if (!is_asked_for) return std::vector<Placement>(count);
        if (devices == 0)
            refuse(
                fmt::format("rank {} (host {}) sees no CUDA device; check nvidia-smi, CUDA_VISIBLE_DEVICES and what "
                            "smp_train --version lists, or set it to \"auto\" or \"cpu\"",
                            rank, ranks.hosts[rank]));
        refuse(
            fmt::format("host {} has {} ranks and {} CUDA device{}; start at most one rank a device, or let ranks "
                        "that are threads take turns by cluster.share_devices",
                        ranks.hosts[rank], here, devices, devices == 1 ? "" : "s"));
    }
    for (std::size_t rank = 0; rank < count; ++rank) {
        const int devices = ranks.cuda_devices[rank];
        all[rank] = {.device = {c10::kCUDA, static_cast<c10::DeviceIndex>(place_on_host[rank] % devices)},
                     .is_shared = ranks.are_threads && ranks_of_host[ranks.hosts[rank]] > devices};
    }
    return all;
}

Placement choose_placement(comms::Communicator& world, const partition::ClusterOptions& cluster) {
    if (cluster.device == partition::Device::cpu) return {};
    DevicesOfRanks ranks{
        .hosts = texts_of_all(world, comms::host_name()), .cuda_devices = {}, .are_threads = world.reduces_in_place()};
    for (const std::string& text : texts_of_all(world, std::to_string(comms::cuda_device_count())))
        ranks.cuda_devices.push_back(std::stoi(text));
    std::vector<Placement> all;
    fail_together(world, [&] { all = placements(ranks, cluster); });
    return all[static_cast<std::size_t>(world.rank())];
}

}  // namespace smp::runtime
