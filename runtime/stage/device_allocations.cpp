#include "runtime/stage/device_allocations.h"

#include <mutex>

#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>

namespace smp::runtime {

void watch_device_allocations(void (*given)(std::size_t address, std::int64_t bytes) noexcept,
                              void (*taken)(std::size_t address) noexcept) {
    using Entry = c10::CachingDeviceAllocator::TraceEntry;
    static std::once_flag once;
    std::call_once(once, [=] {
        at::globalContext().lazyInitDevice(at::kCUDA);  // there is an allocator a device from then on
        c10::cuda::CUDACachingAllocator::attachAllocatorTraceTracker([=](const Entry& entry) {
            if (entry.action_ == Entry::ALLOC) given(entry.addr_, static_cast<std::int64_t>(entry.size_));
            if (entry.action_ == Entry::FREE_REQUESTED) taken(entry.addr_);
        });
    });
}

}  // namespace smp::runtime
