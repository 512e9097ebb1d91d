// Bytes of one rank by category, measured.
#pragma once

#include <cstdint>
#include <string>

#include "partition/plan/memory_category.h"

namespace smp::partition {

/// `offloaded` is host memory, all else the device's.
struct MemoryUse {
    MemoryBytes live = {};
    MemoryBytes peak = {};         // of each category, since some moment
    std::int64_t device_peak = 0;  // of all but `offloaded` together
};

/// "512 B", "1.50 KiB", "12.0 MiB", "256 GiB".
std::string shown_bytes(std::int64_t bytes);

}  // namespace smp::partition
