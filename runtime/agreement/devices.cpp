#include "runtime/agreement/devices.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comms/device/rank_device.h"
#include "partition/job/problem.h"
#include "runtime/agreement/agreement.h"
#include "runtime/agreement/hosts.h"

namespace smp::runtime {

namespace {

[[noreturn]] void refuse(const std::string& what) {
    throw partition::ConfigError(partition::Problem{"cluster.device", "= \"cuda\": " + what});
}

}  // namespace

std::vector<Placement> placements(const DevicesOfRanks& ranks, const partition::ClusterOptions& cluster) {
    const std::size_t count = ranks.hosts.size();
    if (cluster.device == partition::Device::cpu) return std::vector<Placement>(count);
    const bool is_asked_for = cluster.device == partition::Device::cuda;
    std::vector<Placement> all;
    std::map<std::string, std::set<std::string>> taken;  // devices of each host
    std::map<std::string, std::size_t> turns;            // of those that found none left
    for (std::size_t rank = 0; rank < count; ++rank) {
        const std::string& host = ranks.hosts[rank];
        const auto& devices = ranks.cuda_devices[rank];
        auto own = std::ranges::find_if(devices, [&](const auto& id) { return !taken[host].contains(id); });
        if (own == devices.end()) {
            if (!is_asked_for && !(cluster.share_devices && !devices.empty())) return std::vector<Placement>(count);
            if (devices.empty())
                refuse(
                    fmt::format("rank {} (host {}) sees no CUDA device; check nvidia-smi, CUDA_VISIBLE_DEVICES and "
                                "what smp_train --version lists, or set it to \"auto\" or \"cpu\"",
                                rank, host));
            if (!cluster.share_devices)
                refuse(
                    fmt::format("host {} has {} ranks, and rank {} finds no CUDA device that is not another's (it "
                                "sees {}); start at most one rank a device, or let ranks that are threads take "
                                "turns by cluster.share_devices",
                                host, std::ranges::count(ranks.hosts, host), rank, devices.size()));
            own = devices.begin() + static_cast<std::ptrdiff_t>(turns[host]++ % devices.size());
        }
        taken[host].insert(*own);
        all.push_back({.device = {c10::kCUDA, static_cast<c10::DeviceIndex>(own - devices.begin())}});
    }
    for (std::size_t rank = 0; rank < count && ranks.are_threads; ++rank)
        all[rank].is_shared = turns[ranks.hosts[rank]] > 0;
    return all;
}

Placement choose_placement(comms::Communicator& world, const partition::ClusterOptions& cluster) {
    if (cluster.device == partition::Device::cpu) return {};
    DevicesOfRanks ranks{.hosts = host_names(world), .cuda_devices = {}, .are_threads = world.reduces_in_place()};
    for (const std::string& text : texts_of_all(world, fmt::format("{}", fmt::join(comms::cuda_device_ids(), " ")))) {
        std::istringstream ids(text);
        ranks.cuda_devices.emplace_back(std::istream_iterator<std::string>(ids), std::istream_iterator<std::string>());
    }
    std::vector<Placement> all;
    fail_together(world, [&] { all = placements(ranks, cluster); });
    return all[static_cast<std::size_t>(world.rank())];
}

}  // namespace smp::runtime
