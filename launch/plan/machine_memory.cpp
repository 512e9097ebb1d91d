#include "launch/plan/machine_memory.h"

#include <algorithm>

#include <fmt/format.h>

#include "partition/foresight/memory_forecast.h"

namespace smp::launch {

namespace {

namespace fs = std::filesystem;
using runtime::number_behind;
using runtime::number_in;

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

/// What the memory limit of a group leaves: pages of files give way.
std::optional<std::int64_t> left_in_group(const runtime::ControlGroup& group) {
    constexpr GroupFiles kFirst{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                                "total_active_file"};
    constexpr GroupFiles kSecond{"memory.max", "memory.current", "inactive_file", "active_file"};
    const GroupFiles& files = group.version == runtime::ControlGroup::Version::first ? kFirst : kSecond;
    const auto limit = number_in(group.folder / files.limit), usage = number_in(group.folder / files.usage);
    if (!limit || !usage) return std::nullopt;
    const std::int64_t files_of_disk = number_behind(group.folder / "memory.stat", files.inactive).value_or(0) +
                                       number_behind(group.folder / "memory.stat", files.active).value_or(0);
    return std::max<std::int64_t>(0, *limit - *usage + files_of_disk);
}

}  // namespace

std::optional<std::int64_t> available_memory(const runtime::KernelFiles& files) {
    auto available = available_in_machine(files.proc);
    for (const runtime::ControlGroup& group : runtime::control_groups("memory", files))
        available = least(available, left_in_group(group));
    return available;
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
