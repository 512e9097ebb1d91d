// What this process and its host use at a moment: memory, processors' time. Each call costs some microseconds.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/machine/kernel_files.h"

namespace smp::runtime {

/// Bytes of this process that are in the machine's memory, shared ones too.
std::optional<std::int64_t> resident_bytes(const KernelFiles& files = {});

/// Bytes of this host's memory that are in use: what could not be had for something new.
std::optional<std::int64_t> node_memory_bytes(const KernelFiles& files = {});

/// Of processors, that this process has taken so far, by all of its threads.
double cpu_seconds();

}  // namespace smp::runtime
