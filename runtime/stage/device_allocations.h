// What CUDA's caching allocator gives and takes back.
#pragma once

#include <cstddef>
#include <cstdint>

namespace smp::runtime {

/// From now on `given` hears of each allocation, on the thread that asked for it and with the bytes that it asked for,
/// and `taken` of its return, on whatever thread: what is returned can be given again in the order of its stream. Both
/// are called under the allocator's lock: they throw nothing and touch no device memory. Once a process; nothing in
/// builds without CUDA.
void watch_device_allocations(void (*given)(std::size_t address, std::int64_t bytes) noexcept,
                              void (*taken)(std::size_t address) noexcept);

}  // namespace smp::runtime
