#include "launch/plan/node_layout.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "partition/job/problem.h"

namespace smp::launch {

namespace {

/// Ranks that follow one another on one host.
struct Run {
    std::string host;
    std::size_t first = 0, last = 0;
};

std::vector<Run> runs_of(std::span<const std::string> hosts) {
    std::vector<Run> runs;
    for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
        if (runs.empty() || runs.back().host != hosts[rank]) runs.push_back({hosts[rank], rank, rank});
        runs.back().last = rank;
    }
    return runs;
}

/// "node1 (0-3), node2 (4-7)", the first of many.
std::string shown(const std::vector<Run>& runs) {
    constexpr std::size_t kShown = 8;
    std::vector<std::string> words;
    for (const Run& run : runs) {
        if (words.size() == kShown) return fmt::format("{}, …", fmt::join(words, ", "));
        words.push_back(run.first == run.last ? fmt::format("{} ({})", run.host, run.first)
                                              : fmt::format("{} ({}-{})", run.host, run.first, run.last));
    }
    return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace

std::optional<std::string> compare_nodes(const partition::ClusterOptions& cluster, std::span<const std::string> hosts) {
    const std::vector<Run> runs = runs_of(hosts);
    const std::set<std::string> names(hosts.begin(), hosts.end());
    const auto nodes = static_cast<std::size_t>(cluster.nodes);
    if (nodes == 1) {
        if (names.size() == 1) return std::nullopt;
        return fmt::format(
            "the ranks are on {} hosts: {}; the plan prices them as on one node, state cluster.nodes to have it price "
            "messages between hosts",
            names.size(), shown(runs));
    }
    const std::size_t each = hosts.size() / nodes;
    const bool agrees = runs.size() == nodes && names.size() == nodes &&
                        std::ranges::all_of(runs, [&](const Run& run) { return run.last - run.first + 1 == each; });
    if (agrees) return std::nullopt;
    throw partition::ConfigError(partition::Problem{
        "cluster.nodes",
        fmt::format("= {}: must be the hosts that the ranks are on, {} on each, one host after another, and they are "
                    "on {}; start them so (launch/cluster; mpirun --map-by slot, srun --distribution=block), or state "
                    "the hosts that there are",
                    cluster.nodes, each, shown(runs))});
}

}  // namespace smp::launch
