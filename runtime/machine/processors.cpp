#include "runtime/machine/processors.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sched.h>
#include <unistd.h>

#include <fmt/format.h>

namespace smp::runtime {

std::string to_ranges(std::span<const int> numbers) {
    std::string text;
    for (std::size_t first = 0, last = 0; first < numbers.size(); first = ++last) {
        while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
        if (!text.empty()) text += ',';
        text += first == last ? fmt::format("{}", numbers[first]) : fmt::format("{}-{}", numbers[first], numbers[last]);
    }
    return text;
}

std::optional<std::vector<int>> from_ranges(std::string_view text) {
    constexpr int kMost = 1 << 20;  // of one list: more is no list of processors
    std::vector<int> numbers;
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto number = [&](int& value) {
        const auto [next, error] = std::from_chars(at, end, value);
        at = next;
        return error == std::errc() && value >= 0;
    };
    while (at != end) {
        int first = 0;
        if (!number(first)) return std::nullopt;
        int last = first;
        if (at != end && *at == '-') {
            ++at;
            if (!number(last) || last < first || last - first >= kMost) return std::nullopt;
        }
        for (int value = first; value <= last; ++value) numbers.push_back(value);
        if (at == end) break;
        if (*at++ != ',' || at == end) return std::nullopt;
    }
    return numbers;
}

std::vector<int> allowed_cores() {
    std::vector<int> cores;
    cpu_set_t* set = nullptr;
    // The kernel refuses a set with less room than it has processors.
    for (int room = CPU_SETSIZE; room <= CPU_SETSIZE << 6; room *= 2) {
        set = CPU_ALLOC(room);
        if (set == nullptr) return cores;
        const std::size_t size = CPU_ALLOC_SIZE(room);
        const bool known = ::sched_getaffinity(0, size, set) == 0;
        for (int core = 0; known && core < room; ++core)
            if (CPU_ISSET_S(core, size, set)) cores.push_back(core);
        CPU_FREE(set);
        if (known) break;
    }
    return cores;
}

int cores_of_machine() { return static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN))); }

std::optional<double> cpu_quota(const KernelFiles& files) {
    std::optional<double> least;
    for (const ControlGroup& group : control_groups("cpu", files)) {
        std::optional<std::int64_t> quota, period;
        if (group.version == ControlGroup::Version::second) {
            std::ifstream stream(group.folder / "cpu.max");  // "150000 100000" or "max 100000"
            std::int64_t time = 0, of = 0;
            if (stream >> time >> of) quota = time, period = of;
        } else {
            quota = number_in(group.folder / "cpu.cfs_quota_us");  // -1: none
            period = number_in(group.folder / "cpu.cfs_period_us");
        }
        if (!quota || !period || *quota <= 0 || *period <= 0) continue;
        const double cores = static_cast<double>(*quota) / static_cast<double>(*period);
        least = std::min(least.value_or(cores), cores);
    }
    return least;
}

std::string openmp_binding() {
    const auto value_of = [](const char* name) {
        const char* value = std::getenv(name);
        return std::string(value == nullptr ? "" : value);
    };
    const std::string bind = value_of("OMP_PROC_BIND");
    std::string lower = bind;
    std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
    if (lower == "false") return "";
    if (!bind.empty()) return "OMP_PROC_BIND=" + bind;
    for (const char* name : {"OMP_PLACES", "GOMP_CPU_AFFINITY"})  // which bind by being there
        if (const std::string value = value_of(name); !value.empty()) return fmt::format("{}={}", name, value);
    return "";
}

}  // namespace smp::runtime
