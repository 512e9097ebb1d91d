// Kernel launches: a kernel that has a twin on the CPU runs there, in stream order; any other is refused by its name.
#include "tests/standin/kernels.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/standin/errors.h"
#include "tests/standin/streams.h"
#include "tests/standin/twins.h"

namespace smp::standin {

namespace {

/// What host code calls a kernel, and its mangled name on the device: filled while libraries are loaded.
struct Registered {
    std::mutex mutex;
    std::unordered_map<const void*, const char*> names;
};
Registered& registered() {
    static auto* const only = new Registered;
    return *only;
}

std::string name_of(const void* kernel) {
    Registered& all = registered();
    const std::lock_guard lock(all.mutex);
    const auto found = all.names.find(kernel);
    if (found == all.names.end()) return "a kernel that nobody registered";
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(found->second, nullptr, nullptr, &status),
                                                       std::free);
    return plain == nullptr ? found->second : plain.get();
}

struct Loaded {
    std::mutex mutex;
    std::set<std::pair<int, std::string>> kernels;  // by device
};
Loaded& loaded() {
    static auto* const only = new Loaded;
    return *only;
}

struct Configuration {
    dim3 grid, block;
    std::size_t shared;
    cudaStream_t stream;
};
std::vector<Configuration>& configurations() {
    static thread_local std::vector<Configuration> stack;
    return stack;
}

cudaError_t launch(const void* kernel, dim3 grid, dim3 block, void** arguments, cudaStream_t handle) {
    const std::string name = name_of(kernel);
    const Twin* const twin = twin_of(name);
    if (twin == nullptr)
        return refuse("the kernel " + name + " has no twin on the CPU (tests/standin/twins.cpp)",
                      cudaErrorNoKernelImageForDevice);
    Stream* const stream = stream_of(handle);
    if (stream == nullptr || stream->device != current_device()) return cudaErrorInvalidResourceHandle;
    if (std::size_t{block.x} * block.y * block.z > 1024) return cudaErrorInvalidConfiguration;
    load_kernel(name.c_str());
    // Arguments are copied at the launch, as a device's are.
    const auto copies = std::make_shared<std::vector<std::vector<std::byte>>>();
    for (std::size_t i = 0; i < twin->argument_bytes.size(); ++i) {
        const auto* const bytes = static_cast<const std::byte*>(arguments[i]);
        copies->emplace_back(bytes, bytes + twin->argument_bytes[i]);
    }
    stream->queue->purpose.add(Purpose::Work::kernels);
    stream->queue->push([twin, grid, block, copies] {
        std::vector<const void*> pointers;
        for (const auto& copy : *copies) pointers.push_back(copy.data());
        twin->run(grid, block, pointers.data());
    });
    return cudaSuccess;
}

}  // namespace

void load_kernel(const char* name) {
    Loaded& all = loaded();
    {
        const std::lock_guard lock(all.mutex);
        if (!all.kernels.emplace(current_device(), name).second) return;
    }
    wait_for_device(current_device());
}

void unload_kernels() {
    Loaded& all = loaded();
    const std::lock_guard lock(all.mutex);
    all.kernels.clear();
}

}  // namespace smp::standin

extern "C" {

using namespace smp::standin;

// NOLINTBEGIN(bugprone-reserved-identifier): names that nvcc gives
void** __cudaRegisterFatBinary(void*) {
    static void* anything = nullptr;
    return &anything;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
void __cudaRegisterManagedVar(void**, void**, char*, const char*, int, size_t, int, int) {}

void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
    Registered& all = registered();
    const std::lock_guard lock(all.mutex);
    all.names[host] = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    configurations().push_back({grid, block, shared, stream});
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
    if (configurations().empty()) return cudaErrorMissingConfiguration;
    const Configuration last = configurations().back();
    configurations().pop_back();
    *grid = last.grid;
    *block = last.block;
    *shared = last.shared;
    *static_cast<cudaStream_t*>(stream) = last.stream;
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
    *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(host));
    return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t,
                               cudaStream_t stream) {
    return call("cudaLaunchKernel", [&] { return launch(kernel, grid, block, arguments, stream); });
}

// NOLINTEND(bugprone-reserved-identifier)

cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t, cudaStream_t stream) {
    return call(__func__, [&] { return launch(kernel, grid, block, arguments, stream); });
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* configuration, const void* kernel, void** arguments) {
    return call("cudaLaunchKernel", [&] {
        return launch(kernel, configuration->gridDim, configuration->blockDim, arguments, configuration->stream);
    });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
    return call(__func__, [&] {
        std::memset(attributes, 0, sizeof *attributes);
        attributes->maxThreadsPerBlock = 1024;
        load_kernel(name_of(kernel).c_str());
        return cudaSuccess;
    });
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t, unsigned) {
    *blocks = 1;
    return cudaSuccess;
}

}  // extern "C"
