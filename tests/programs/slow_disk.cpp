// A disk that takes its time, for tests: preloaded (LD_PRELOAD) into a program, each call that writes a part of a
// checkpoint first waits for SMP_SLOW_DISK milliseconds. Others are as they were.
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <string_view>
#include <sys/types.h>
#include <thread>
#include <unistd.h>

namespace {

void take_time(std::string_view path) {
    if (path.find(".partial") == std::string_view::npos) return;
    static const int milliseconds = [] {
        const char* given = std::getenv("SMP_SLOW_DISK");
        return given == nullptr ? 0 : std::atoi(given);
    }();
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

void take_time(int file) {
    std::array<char, 64> link{};
    std::array<char, 4096> path{};
    std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", file);
    const ssize_t length = ::readlink(link.data(), path.data(), path.size());
    if (length > 0) take_time(std::string_view(path.data(), static_cast<std::size_t>(length)));
}

template <class Function>
Function* next(const char* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t pwrite(int file, const void* bytes, std::size_t count, off_t at) {
    take_time(file);
    static auto* const real = next<ssize_t(int, const void*, std::size_t, off_t)>("pwrite");
    return real(file, bytes, count, at);
}

int fsync(int file) {
    take_time(file);
    static auto* const real = next<int(int)>("fsync");
    return real(file);
}

int rename(const char* from, const char* to) noexcept {
    take_time(std::string_view(from));
    static auto* const real = next<int(const char*, const char*)>("rename");
    return real(from, to);
}

}  // extern "C"
