// What a test reads of the stand-in and plants in it. Looked up at run time, so that the same test program runs with it
// and without.
#pragma once

#include <cstdint>
#include <dlfcn.h>

namespace smp::standin {

/// Calls in which the host waited for the device: what a step must not do.
struct HostWaits {
    std::int64_t stream, device, event;  // synchronisations
    std::int64_t copies;                 // blocking ones, those into pageable memory among them
    std::int64_t frees;                  // cudaFree and cudaFreeHost wait for all that their device does
    std::int64_t all() const { return stream + device + event + copies + frees; }
    // Beside those: a thread has asked for one event many times in vain and given devices nothing meanwhile. Counted
    // once until it gives them something again.
    std::int64_t polled;
};

/// What one call of the CUDA runtime or of NCCL does instead of its work.
struct Plant {
    const char* call;               // "cudaMemcpyAsync", "ncclSend", …
    int device = -1;                // −1: any. Of cuda…: the current one; of nccl…: the communicator's
    const char* communicator = "";  // of nccl…, by name; empty: any
    int after = 0;                  // calls that go well before
    int result = 0;                 // what it returns, a cudaError_t or an ncclResult_t
    bool stalls = false;            // begins no sooner than take_back() instead
};

struct Control {
    /// Each task of a stream begins up to `microseconds` late, drawn from `seed`.
    void (*delay)(std::uint64_t seed, std::int64_t microseconds);
    /// Since the start.
    HostWaits (*host_waits)(int device);
    std::int64_t (*events_created)(int device);
    std::int64_t (*bytes_in_use)(int device);
    std::int64_t (*pinned_bytes)(int device);  // of host memory, by the device that was current
    /// Calls `take` once for each two purposes of which one was to wait for the other on the device since the last
    /// call.
    void (*joins)(int device, void (*take)(void* context, const char* waiting, const char* awaited), void* context);
    void (*plant)(const Plant& plant);
    /// cudaStreamWaitEvent goes well and does nothing where a stream for `waiting` is to wait for one for `awaited`: a
    /// join that is missing in the program. What streams are for, their purpose: "compute", "copies in", "copies out",
    /// or the name of the communicator whose kernels they run.
    void (*ignore_joins)(const char* waiting, const char* awaited);
    /// The streams there are now for `purpose` do all as late as they can: a task begins when no other stream can do
    /// anything, and the host has given none anything for a while.
    void (*hold_back)(const char* purpose);
    void (*take_back)();  // all that is planted, ignored and held back
    /// Of each kernel that is started, ahead of it, where a test runs it as a task of a stream: what CUDA may do at its
    /// first start on the current device, which is to wait for all that the device does. Kernels with a twin do so too.
    void (*load_kernel)(const char* name);
    void (*unload_kernels)();
    /// Every communicator of the device reports this ncclResult_t from now on.
    void (*fail_communicators)(int device, int result);
    /// Calls `take` with a line for each NCCL kernel that waits: "device 0: send of 8 bytes to rank 1 in 'x'".
    void (*waiting_kernels)(void (*take)(void* context, const char* line), void* context);
    /// Calls about events since the start.
    std::int64_t (*events_recorded)(int device);
    std::int64_t (*events_queried)(int device);
};

/// Null without the stand-in.
inline const Control* control() {
    using Get = const Control* (*)();
    static const auto get = reinterpret_cast<Get>(::dlsym(RTLD_DEFAULT, "smp_cuda_standin"));
    return get == nullptr ? nullptr : get();
}

}  // namespace smp::standin
