#include "runtime/files/mapped_file.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {

/// One mapping, as the signal handler sees it. Never deleted, so that the handler can walk the list at any time; used
/// again for another mapping once `begin` is 0.
struct MappedFile::Region {
    std::atomic<std::uintptr_t> begin = 0, end = 0;
    std::atomic<bool> lost = false;  // some page could not be read
    Region* next = nullptr;

    static std::atomic<Region*> first;
    static struct sigaction earlier;

    static Region* of(std::span<const std::byte> bytes);
    static void take_bus_error(int signal, siginfo_t* info, void* context);
};
std::atomic<MappedFile::Region*> MappedFile::Region::first = nullptr;
struct sigaction MappedFile::Region::earlier {};

MappedFile::Region* MappedFile::Region::of(std::span<const std::byte> bytes) {
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    Region* region = first;
    while (region != nullptr && region->begin != 0) region = region->next;
    if (region == nullptr) {
        if (first == nullptr) {
            struct sigaction action {};
            action.sa_sigaction = take_bus_error;
            action.sa_flags = SA_SIGINFO | SA_ONSTACK;
            ::sigaction(SIGBUS, &action, &earlier);
        }
        region = new Region;  // NOLINT: see above
        region->next = first;
        first = region;
    }
    region->lost = false;
    region->end = reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size();
    region->begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    return region;
}

/// Puts a page of zeros where a page cannot be read, so that the reader goes on to require_whole(). Only system calls.
void MappedFile::Region::take_bus_error(int signal, siginfo_t* info, void* context) {
    const int error = errno;
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    for (Region* region = first; region != nullptr; region = region->next) {
        if (region->begin == 0 || address < region->begin || address >= region->end) continue;
        const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        void* const start = reinterpret_cast<void*>(address / page * page);  // NOLINT: an address is what there is
        if (::mmap(start, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
        region->lost = true;
        errno = error;
        return;
    }
    // Another's: as if there were no handler here.
    if ((earlier.sa_flags & SA_SIGINFO) != 0) {
        earlier.sa_sigaction(signal, info, context);
    } else if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN) {
        earlier.sa_handler(signal);
    } else {
        ::signal(signal, SIG_DFL);  // the access is made again
    }
}

namespace {

class FileDescriptor {
  public:
    explicit FileDescriptor(int value) : value_(value) {}
    ~FileDescriptor() {
        if (value_ >= 0) ::close(value_);
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    int get() const { return value_; }

  private:
    int value_;
};

std::string why_not_opened(const std::filesystem::path& path, int error) {
    switch (error) {
        case ENOENT: {
            // Megatron's tools name the pair by what its two files share.
            std::filesystem::path pair = path;
            pair += ".bin";
            std::error_code ignored;
            if (std::filesystem::exists(pair, ignored)) {
                return fmt::format("\"{}\" does not exist, but \"{}\" does; name that one.", path.string(),
                                   pair.string());
            }
            return fmt::format("\"{}\" does not exist; check the path.", path.string());
        }
        case EACCES:
        case EPERM:
            return fmt::format(
                "\"{}\" may not be read by this user; change its permissions (chmod a+r) or those of its folders.",
                path.string());
        case EMFILE:
        case ENFILE:
            return fmt::format("\"{}\" cannot be opened: too many files are open; raise the limit (ulimit -n).",
                               path.string());
        default:
            return fmt::format("\"{}\" cannot be opened: {}; check the path and the disk.", path.string(),
                               std::strerror(error));
    }
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
    // Not blocking: the open of a named pipe would wait for its writer.
    const FileDescriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) throw DataError(why_not_opened(path_, errno));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) throw DataError(why_not_opened(path_, errno));
    if (S_ISDIR(status.st_mode)) {
        throw DataError(fmt::format(
            "\"{}\" is a directory where a file is needed; name a file in it, or all by a glob such as \"{}\".",
            path_.string(), (path_ / "*.bin").string()));
    }
    if (!S_ISREG(status.st_mode)) {
        throw DataError(
            fmt::format("\"{}\" is no regular file (a device, pipe or socket) and cannot be mapped; copy its content "
                        "into a file first.",
                        path_.string()));
    }
    if (status.st_size == 0) {
        throw DataError(fmt::format("\"{}\" is empty (0 bytes); make it again or leave it out.", path_.string()));
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) {
        throw DataError(fmt::format(
            "\"{}\" ({} bytes) cannot be mapped into memory: {}; check the limits of address space (ulimit -v) "
            "and of mappings (vm.max_map_count).",
            path_.string(), size, std::strerror(errno)));
    }
    bytes_ = {static_cast<const std::byte*>(address), size};
    region_ = Region::of(bytes_);
    // Of a file that is shortened inside a page, what is left of the page reads as zeros without a signal.
    const std::span<const std::byte> tail = bytes_.last(std::min<std::size_t>(size, 4096));
    const auto nonzero = std::find_if(tail.rbegin(), tail.rend(), [](std::byte byte) { return byte != std::byte{0}; });
    last_ = size - 1 - static_cast<std::size_t>(nonzero == tail.rend() ? 0 : nonzero - tail.rbegin());
    ends_in_zeros_ = nonzero == tail.rend();
}

MappedFile::~MappedFile() {
    if (bytes_.empty()) return;
    region_->begin = 0;
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::require_whole() const {
    const std::byte last = *static_cast<const volatile std::byte*>(&bytes_[last_]);
    const bool changed = (last == std::byte{0}) != ends_in_zeros_;
    if (!changed && !region_->lost) return;
    std::error_code ignored;
    const auto now = std::filesystem::file_size(path_, ignored);
    throw DataError(fmt::format(
        "\"{}\" had {} bytes when it was opened, {}, and cannot be read any more: another program changed it, or the "
        "disk failed. Restore it and start again; replace data files by renaming, never in place.",
        path_.string(), size(), ignored ? std::string("is gone now") : fmt::format("has {} now", now)));
}

void MappedFile::let_go() const { ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED); }

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      bytes_(std::exchange(other.bytes_, {})),
      region_(std::exchange(other.region_, nullptr)),
      last_(other.last_),
      ends_in_zeros_(other.ends_in_zeros_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(bytes_, other.bytes_);
    std::swap(region_, other.region_);
    std::swap(last_, other.last_);
    std::swap(ends_in_zeros_, other.ends_in_zeros_);
    return *this;
}

}  // namespace smp::runtime
