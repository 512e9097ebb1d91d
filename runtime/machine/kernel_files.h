// What the kernel says in files: of the machine, and of the control groups (cgroups) that this process is in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smp::runtime {

/// Where the kernel says it; tests say something else.
struct KernelFiles {
    std::filesystem::path proc = "/proc";
    std::filesystem::path cgroups = "/sys/fs/cgroup";
};

/// The number behind `name` in lines "name 123" or "name: 123 kB"; none where there is no such line.
std::optional<std::int64_t> number_behind(const std::filesystem::path& file, std::string_view name);

/// Of a file that begins with it; none for "max".
std::optional<std::int64_t> number_in(const std::filesystem::path& file);

/// A folder with the files of a control group.
struct ControlGroup {
    enum class Version { first, second };  // which have other files
    Version version;
    std::filesystem::path folder;
};

/// The groups of both versions in which `controller` ("memory", "cpu") may limit this process: its own and those that
/// they lie in. Folders need not be there: in a container a group's path often is not, its root is.
std::vector<ControlGroup> control_groups(std::string_view controller, const KernelFiles& files = {});

}  // namespace smp::runtime
