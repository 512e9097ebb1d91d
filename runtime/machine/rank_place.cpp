#include "runtime/machine/rank_place.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "runtime/machine/processors.h"

namespace smp::runtime {

namespace {

std::string plural(std::size_t count, const char* word) {
    return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

std::string shown_cores(std::span<const int> cores, int of) {
    return cores.empty() ? fmt::format("unknown cores of {}", of) : fmt::format("cores {} of {}", to_ranges(cores), of);
}

/// "rank 2" or "ranks 0-3".
std::string shown_ranks(std::span<const RankPlace> ranks) {
    std::vector<int> numbers;
    for (const RankPlace& place : ranks) numbers.push_back(place.rank);
    return fmt::format("rank{} {}", numbers.size() == 1 ? "" : "s", to_ranges(numbers));
}

std::vector<int> union_of_cores(std::span<const RankPlace> ranks) {
    std::set<int> all;
    for (const RankPlace& place : ranks) all.insert(place.cores.begin(), place.cores.end());
    return {all.begin(), all.end()};
}

int threads_of(std::span<const RankPlace> ranks) {
    int threads = 0;
    for (const RankPlace& place : ranks) threads += place.threads;
    return threads;
}

/// Ranks that may use none but `cores`.
std::vector<RankPlace> confined_to(std::span<const int> cores, const Node& node) {
    std::vector<RankPlace> ranks;
    for (const RankPlace& place : node.ranks)
        if (!place.cores.empty() && std::ranges::includes(cores, place.cores)) ranks.push_back(place);
    return ranks;
}

/// By binding: the set of processors that lacks most.
std::optional<std::string> crowding(const Node& node) {
    std::vector<RankPlace> crowded;
    std::vector<int> on;
    double worst = 1;
    for (const RankPlace& place : node.ranks) {
        const auto ranks = confined_to(place.cores, node);
        if (ranks.empty()) continue;
        const auto cores = static_cast<int>(place.cores.size());
        const bool is_bound = cores < place.host_cores ||
                              std::ranges::any_of(ranks, [&](const RankPlace& other) { return other.threads > cores; });
        const double threads_a_core = static_cast<double>(threads_of(ranks)) / cores;
        if (!is_bound || threads_a_core <= worst) continue;
        worst = threads_a_core;
        crowded = ranks;
        on = place.cores;
    }
    if (crowded.empty()) return std::nullopt;
    return fmt::format(
        "{} on {} compute{} with {} on {} ({}): bind wider (mpirun --bind-to none, or --map-by slot:PE=N with N cores "
        "a rank; srun --cpus-per-task), or set cluster.threads_per_rank lower",
        shown_ranks(crowded), node.host, crowded.size() == 1 ? "s" : "",
        plural(static_cast<std::size_t>(threads_of(crowded)), "thread"), plural(on.size(), "core"),
        shown_cores(on, crowded.front().host_cores));
}

/// OpenMP binds the first threads of each process to the first of the processors that it may use.
std::optional<std::string> stacking(const Node& node) {
    std::map<int, std::vector<RankPlace>> by_first_core;
    for (const RankPlace& place : node.ranks)
        if (!place.openmp.empty() && !place.cores.empty()) by_first_core[place.cores.front()].push_back(place);
    for (const auto& [core, ranks] : by_first_core) {
        if (ranks.size() < 2) continue;
        return fmt::format(
            "{} in the environment of {} on {}: OpenMP binds the threads of each to the same processors, from core {} "
            "on; unset it, or give each rank cores of its own (mpirun --map-by slot:PE=N --bind-to core)",
            ranks.front().openmp, shown_ranks(ranks), node.host, core);
    }
    return std::nullopt;
}

std::optional<std::string> throttling(const Node& node) {
    std::optional<double> least;
    for (const RankPlace& place : node.ranks)
        if (place.quota) least = std::min(least.value_or(*place.quota), *place.quota);
    const int threads = threads_of(node.ranks);
    if (!least || *least >= threads) return std::nullopt;
    return fmt::format(
        "{} on {} compute{} with {}, and their control group (cgroup) allows the time of {:.4g} cores: raise its limit "
        "(docker --cpus, cpu.max), or start fewer ranks or threads",
        shown_ranks(node.ranks), node.host, node.ranks.size() == 1 ? "s" : "",
        plural(static_cast<std::size_t>(threads), "thread"), *least);
}

}  // namespace

RankPlace place_here(RankPlace known, const KernelFiles& files) {
    known.process = ::getpid();
    known.cores = allowed_cores();
    known.host_cores = cores_of_machine();
    known.quota = cpu_quota(files);
    known.openmp = openmp_binding();
    return known;
}

std::string to_text(const RankPlace& place) {
    return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}", place.rank, place.host, place.process, place.device,
                       place.coordinate, to_ranges(place.cores), place.host_cores, place.threads,
                       place.quota ? fmt::format("{}", *place.quota) : "", place.openmp);
}

RankPlace place_of_text(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    constexpr std::size_t kLines = 10;
    if (lines.size() + 1 == kLines) lines.emplace_back();  // the last is empty
    std::optional<std::vector<int>> cores;
    if (lines.size() == kLines) cores = from_ranges(lines[5]);
    if (!cores) throw std::logic_error(fmt::format("\"{}\" is no text of where a rank is", text));
    RankPlace place{.rank = std::stoi(lines[0]),
                    .host = lines[1],
                    .process = std::stoll(lines[2]),
                    .device = lines[3],
                    .coordinate = lines[4],
                    .cores = *std::move(cores),
                    .host_cores = std::stoi(lines[6]),
                    .threads = std::stoi(lines[7])};
    if (!lines[8].empty()) place.quota = std::stod(lines[8]);
    place.openmp = lines[9];
    return place;
}

std::string described(const RankPlace& place) {
    return fmt::format("rank {} on {}: process {}, device {}, {}, {}, {}", place.rank, place.host, place.process,
                       place.device, shown_cores(place.cores, place.host_cores),
                       plural(static_cast<std::size_t>(place.threads), "thread"), place.coordinate);
}

std::vector<Node> nodes_of(std::span<const RankPlace> places) {
    std::vector<Node> nodes;
    for (const RankPlace& place : places) {
        auto node = std::ranges::find(nodes, place.host, &Node::host);
        if (node == nodes.end()) node = nodes.insert(nodes.end(), Node{.host = place.host, .ranks = {}});
        node->ranks.push_back(place);
    }
    return nodes;
}

std::string described(const Node& node) {
    std::set<std::int64_t> processes;
    for (const RankPlace& place : node.ranks) processes.insert(place.process);
    return fmt::format("node {}: {} in {}, {}, {}", node.host, shown_ranks(node.ranks),
                       processes.size() == 1 ? "1 process" : fmt::format("{} processes", processes.size()),
                       shown_cores(union_of_cores(node.ranks), node.ranks.front().host_cores),
                       plural(static_cast<std::size_t>(threads_of(node.ranks)), "thread"));
}

std::vector<std::string> what_slows(std::span<const RankPlace> places) {
    std::vector<std::string> sentences;
    for (const Node& node : nodes_of(places)) {
        auto crowded = stacking(node);  // which is why they are crowded
        if (!crowded) crowded = crowding(node);
        if (crowded) sentences.push_back(*std::move(crowded));
        if (auto throttled = throttling(node)) sentences.push_back(*std::move(throttled));
    }
    return sentences;
}

}  // namespace smp::runtime
