#include "launch/plan/machine_memory.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>

#include <fmt/format.h>

#include "partition/foresight/memory_forecast.h"

namespace smp::launch {

namespace {

namespace fs = std::filesystem;

/// The number behind `name` in lines "name 123" or "name: 123 kB".
std::optional<std::int64_t> number_behind(const fs::path& file, std::string_view name) {
    std::ifstream stream(file);
    for (std::string line; std::getline(stream, line);) {
        if (!line.starts_with(name) || line.size() == name.size()) continue;
        if (line[name.size()] != ':' && line[name.size()] != ' ') continue;
        std::istringstream rest(line.substr(name.size() + 1));
        std::int64_t number = 0;
        if (rest >> number) return number;
    }
    return std::nullopt;
}

/// Of a file with nothing else; none for "max".
std::optional<std::int64_t> number_in(const fs::path& file) {
    std::ifstream stream(file);
    std::int64_t number = 0;
    if (stream >> number) return number;
    return std::nullopt;
}

std::optional<std::int64_t> least(std::optional<std::int64_t> a, std::optional<std::int64_t> b) {
    if (!a || !b) return a ? a : b;
    return std::min(*a, *b);
}

std::optional<std::int64_t> available_in_machine(const fs::path& proc) {
    const auto available = number_behind(proc / "meminfo", "MemAvailable");
    if (!available) return std::nullopt;
    return 1024 * (*available + number_behind(proc / "meminfo", "SwapFree").value_or(0));
}

/// Names of files, which differ between the versions of control groups.
struct GroupFiles {
    const char *limit, *usage, *inactive, *active;
};

/// Of a group and those that it lies in: pages of files give way.
std::optional<std::int64_t> left_in_group(const fs::path& root, fs::path group, const GroupFiles& files) {
    std::optional<std::int64_t> left;
    for (;; group = group.parent_path()) {
        const fs::path folder = root / group.relative_path();
        const auto limit = number_in(folder / files.limit), usage = number_in(folder / files.usage);
        if (limit && usage) {
            const std::int64_t files_of_disk = number_behind(folder / "memory.stat", files.inactive).value_or(0) +
                                               number_behind(folder / "memory.stat", files.active).value_or(0);
            left = least(left, std::max<std::int64_t>(0, *limit - *usage + files_of_disk));
        }
        if (!group.has_relative_path()) return left;
    }
}

std::optional<std::int64_t> left_in_groups(const MemorySources& sources) {
    constexpr GroupFiles kFirst{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                                "total_active_file"};
    constexpr GroupFiles kSecond{"memory.max", "memory.current", "inactive_file", "active_file"};
    std::optional<std::int64_t> left;
    std::ifstream stream(sources.proc / "self/cgroup");
    for (std::string line; std::getline(stream, line);) {  // "4:memory:/path" or "0::/path"
        const auto first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
        const fs::path path = line.substr(second + 1);
        if (controllers == ",,") left = least(left, left_in_group(sources.cgroups, path, kSecond));
        if (controllers.find(",memory,") != std::string::npos)
            left = least(left, left_in_group(sources.cgroups / "memory", path, kFirst));
    }
    return left;
}

}  // namespace

std::optional<std::int64_t> available_memory(const MemorySources& sources) {
    return least(available_in_machine(sources.proc), left_in_groups(sources));
}

std::int64_t memory_of_all_ranks(const partition::Plan& plan, const partition::ModuleGraph& graph) {
    constexpr auto kOffloaded = static_cast<std::size_t>(partition::MemoryCategory::offloaded);
    const std::int64_t ranks_of_stage = std::int64_t{plan.topology.degrees.tp} * plan.topology.degrees.rdp;
    std::int64_t bytes = 0;
    for (const partition::StageId stage : plan.training.ids()) {
        const auto forecast = partition::memory_forecast(plan, graph, stage);
        bytes += ranks_of_stage * (forecast.device_peak + forecast.peak[kOffloaded]);
    }
    return bytes;
}

std::optional<std::string> misfit_of_threads(const partition::Plan& plan, const partition::ModuleGraph& graph,
                                             std::int64_t available) {
    const std::int64_t needed = memory_of_all_ranks(plan, graph);
    if (needed <= available) return std::nullopt;
    return fmt::format(
        "the job does not fit this machine: its {} ranks, threads of one process, need {} at their peaks, and {} are "
        "available here; start them as processes on several machines (mpirun), or make the model, the batch or "
        "parallel.active_microbatches smaller",
        plan.topology.degrees.world(), partition::shown_bytes(needed), partition::shown_bytes(available));
}

}  // namespace smp::launch
