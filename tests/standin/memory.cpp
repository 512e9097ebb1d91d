#include "tests/standin/memory.h"

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "tests/standin/errors.h"
#include "tests/standin/streams.h"

namespace smp::standin {

namespace {

struct Block {
    std::size_t bytes;
    Place place;
};

/// Looked at by host threads only: the threads of streams are not to be ordered by its lock.
struct Table {
    std::mutex mutex;
    std::map<const std::byte*, Block> blocks;
    std::array<std::size_t, kMostDevices> used{}, pinned{};  // by device; pinned for it
};
Table& table() {
    static auto* const only = new Table;
    return *only;
}

/// Fresh memory holds a pattern that is a NaN in every floating type.
void* fresh(std::size_t bytes) {
    constexpr std::size_t kAlignment = 512;
    void* const memory = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    if (memory != nullptr) std::memset(memory, 0xff, bytes);
    return memory;
}

cudaError_t add(void** address, std::size_t bytes, Place place) {
    Table& all = table();
    {
        const std::lock_guard lock(all.mutex);
        if (place.memory == Memory::device) {
            auto& used = all.used[static_cast<std::size_t>(place.device)];
            if (used + bytes > static_cast<std::size_t>(device_bytes())) return cudaErrorMemoryAllocation;
            used += bytes;
        }
    }
    *address = fresh(bytes);
    if (*address == nullptr) return cudaErrorMemoryAllocation;
    const std::lock_guard lock(all.mutex);
    all.blocks[static_cast<const std::byte*>(*address)] = {bytes, place};
    if (place.memory == Memory::pinned) all.pinned[static_cast<std::size_t>(place.device)] += bytes;
    return cudaSuccess;
}

cudaError_t remove(const void* address) {
    Table& all = table();
    const std::lock_guard lock(all.mutex);
    const auto found = all.blocks.find(static_cast<const std::byte*>(address));
    if (found == all.blocks.end()) return cudaErrorInvalidValue;
    const auto [bytes, place] = found->second;
    (place.memory == Memory::device ? all.used : all.pinned)[static_cast<std::size_t>(place.device)] -= bytes;
    all.blocks.erase(found);
    return cudaSuccess;
}

}  // namespace

Place place_of(const void* address) {
    Table& all = table();
    const std::lock_guard lock(all.mutex);
    const auto* const at = static_cast<const std::byte*>(address);
    auto found = all.blocks.upper_bound(at);
    if (found == all.blocks.begin()) return {};
    --found;
    return at < found->first + found->second.bytes ? found->second.place : Place{};
}

std::int64_t bytes_in_use(int device) {
    Table& all = table();
    const std::lock_guard lock(all.mutex);
    return static_cast<std::int64_t>(all.used[static_cast<std::size_t>(device)]);
}

std::int64_t pinned_bytes(int device) {
    Table& all = table();
    const std::lock_guard lock(all.mutex);
    return static_cast<std::int64_t>(all.pinned[static_cast<std::size_t>(device)]);
}

}  // namespace smp::standin

extern "C" {

using namespace smp::standin;

cudaError_t cudaMalloc(void** address, size_t bytes) {
    return call(__func__, [&] { return add(address, bytes, {Memory::device, current_device()}); });
}

cudaError_t cudaFree(void* address) {
    return call(__func__, [&] {
        if (address == nullptr) return cudaSuccess;  // how callers make a context
        const Place place = place_of(address);
        if (place.memory != Memory::device) return cudaErrorInvalidValue;
        count(counts(place.device).frees);
        wait_for_device(place.device);
        if (const cudaError_t code = remove(address); code != cudaSuccess) return code;
        std::free(address);
        return cudaSuccess;
    });
}

cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
    return call(__func__, [&] { return add(address, bytes, {Memory::pinned, current_device()}); });
}

cudaError_t cudaMallocHost(void** address, size_t bytes) { return cudaHostAlloc(address, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void* address) {
    return call(__func__, [&] {
        if (address == nullptr) return cudaSuccess;
        const Place place = place_of(address);
        if (place.memory != Memory::pinned) return cudaErrorInvalidValue;
        count(counts(place.device).frees);
        wait_for_device(place.device);
        if (const cudaError_t code = remove(address); code != cudaSuccess) return code;
        std::free(address);
        return cudaSuccess;
    });
}

cudaError_t cudaHostRegister(void* address, size_t bytes, unsigned) {
    return call(__func__, [&] {
        Table& all = table();
        const std::lock_guard lock(all.mutex);
        all.blocks[static_cast<const std::byte*>(address)] = {bytes, {Memory::pinned, current_device()}};
        all.pinned[static_cast<std::size_t>(current_device())] += bytes;
        return cudaSuccess;
    });
}

cudaError_t cudaHostUnregister(void* address) {
    return call(__func__, [&] { return remove(address); });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    return call(__func__, [&] {
        *total = static_cast<std::size_t>(device_bytes());
        *free = *total - static_cast<std::size_t>(bytes_in_use(current_device()));
        return cudaSuccess;
    });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
    return call(__func__, [&] {
        const Place place = place_of(address);
        std::memset(attributes, 0, sizeof *attributes);
        attributes->device = place.device;
        void* const plain = const_cast<void*>(address);
        switch (place.memory) {
            case Memory::pageable: attributes->type = cudaMemoryTypeUnregistered; break;
            case Memory::pinned:
                attributes->type = cudaMemoryTypeHost;
                attributes->hostPointer = plain;
                attributes->devicePointer = plain;
                break;
            case Memory::device:
                attributes->type = cudaMemoryTypeDevice;
                attributes->devicePointer = plain;
                break;
        }
        return cudaSuccess;
    });
}

}  // extern "C"
