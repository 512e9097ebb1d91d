#include "runtime/machine/kernel_files.h"

#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace smp::runtime {

namespace fs = std::filesystem;

namespace {

void add_with_parents(std::vector<ControlGroup>& groups, ControlGroup::Version version, const fs::path& root,
                      fs::path group) {
    for (;; group = group.parent_path()) {
        groups.push_back({version, root / group.relative_path()});
        if (!group.has_relative_path()) return;
    }
}

}  // namespace

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

std::optional<std::int64_t> number_in(const fs::path& file) {
    std::ifstream stream(file);
    std::int64_t number = 0;
    if (stream >> number) return number;
    return std::nullopt;
}

std::vector<ControlGroup> control_groups(std::string_view controller, const KernelFiles& files) {
    std::vector<ControlGroup> groups;
    std::ifstream stream(files.proc / "self/cgroup");
    for (std::string line; std::getline(stream, line);) {  // "4:cpu,cpuacct:/path" or "0::/path"
        const auto first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
        const fs::path path = line.substr(second + 1);
        if (controllers == ",,") add_with_parents(groups, ControlGroup::Version::second, files.cgroups, path);
        if (controllers.find(fmt::format(",{},", controller)) != std::string::npos)
            add_with_parents(groups, ControlGroup::Version::first, files.cgroups / controller, path);
    }
    return groups;
}

}  // namespace smp::runtime
