// Times of all kernels of a program at its own speed, whoever started them: a library that CUDA's driver loads where
// CUDA_INJECTION64_PATH names it. By CUPTI's activity records; written as lines of name, calls and nanoseconds, with
// tabs between them, to the file that SMP_KERNEL_TIMES names, when the program ends.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cupti.h>
#include <cxxabi.h>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace {

constexpr std::size_t kBytes = std::size_t{8} << 20;

struct Times {
    std::mutex mutex;
    std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> of;  // calls, nanoseconds
};
Times& times() {
    static Times& found = *new Times;  // outlives all threads
    return found;
}

void CUPTIAPI lend(std::uint8_t** buffer, std::size_t* bytes, std::size_t* most_records) {
    *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, kBytes));
    *bytes = *buffer == nullptr ? 0 : kBytes;
    *most_records = 0;
}

void CUPTIAPI take(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t valid_bytes) {
    const std::lock_guard lock(times().mutex);
    CUpti_Activity* record = nullptr;
    while (cuptiActivityGetNextRecord(buffer, valid_bytes, &record) == CUPTI_SUCCESS) {
        if (record->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) continue;
        const auto* kernel = reinterpret_cast<const CUpti_ActivityKernel10*>(record);
        auto& [calls, nanoseconds] = times().of[kernel->name];
        ++calls;
        nanoseconds += kernel->end - kernel->start;
    }
    std::free(buffer);
}

std::string readable(const std::string& name) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> found(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                       std::free);
    return status == 0 ? found.get() : name;
}

void write() {
    if (cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED) != CUPTI_SUCCESS)
        std::fputs("kernel_times: cuptiActivityFlushAll failed; the last kernels are missing\n", stderr);
    const char* path = std::getenv("SMP_KERNEL_TIMES");
    std::FILE* file = path == nullptr ? nullptr : std::fopen(path, "w");
    if (file == nullptr) {
        std::fputs("kernel_times: SMP_KERNEL_TIMES names no file that can be written\n", stderr);
        return;
    }
    const std::lock_guard lock(times().mutex);
    for (const auto& [name, found] : times().of)
        std::fprintf(file, "%s\t%llu\t%llu\n", readable(name).c_str(), static_cast<unsigned long long>(found.first),
                     static_cast<unsigned long long>(found.second));
    std::fclose(file);
}

}  // namespace

/// What the driver calls when it has loaded the library.
extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
    if (cuptiActivityRegisterCallbacks(lend, take) != CUPTI_SUCCESS ||
        cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) != CUPTI_SUCCESS) {
        std::fputs("kernel_times: CUPTI does not start\n", stderr);
        return 0;
    }
    std::atexit(write);
    return 1;
}
