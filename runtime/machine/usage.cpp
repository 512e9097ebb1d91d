#include "runtime/machine/usage.h"

#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

namespace smp::runtime {

std::optional<std::int64_t> resident_bytes(const KernelFiles& files) {
    std::ifstream stream(files.proc / "self/statm");  // pages: all, resident, …
    std::int64_t all = 0, resident = 0;
    if (!(stream >> all >> resident)) return std::nullopt;
    return resident * ::sysconf(_SC_PAGESIZE);
}

std::optional<std::int64_t> node_memory_bytes(const KernelFiles& files) {
    const auto total = number_behind(files.proc / "meminfo", "MemTotal");
    const auto available = number_behind(files.proc / "meminfo", "MemAvailable");
    if (!total || !available) return std::nullopt;
    return 1024 * (*total - *available);
}

double cpu_seconds() {
    rusage usage{};
    if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace smp::runtime
