// The processors that this process may use, and what keeps it from using more: binding, control groups, OpenMP.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/machine/kernel_files.h"

namespace smp::runtime {

/// "0-3,8", as the kernel writes lists of processors. `numbers` ascend.
std::string to_ranges(std::span<const int> numbers);
/// Back; none for what is no such list.
std::optional<std::vector<int>> from_ranges(std::string_view text);

/// Those that the calling thread may run on (its affinity), ascending; empty where the system does not say.
std::vector<int> allowed_cores();

/// Of the machine, those that are on.
int cores_of_machine();

/// So much of processors' time as the tightest control group allows this process and those beside it: 1.5 is that of
/// one and a half. None where no group limits it.
std::optional<double> cpu_quota(const KernelFiles& files = {});

/// The variable of the environment by which OpenMP binds threads to processors ("OMP_PROC_BIND=close"); empty: it does
/// not.
std::string openmp_binding();

}  // namespace smp::runtime
