#include "runtime/files/output_file.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <stdexcept>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {
namespace {

// A block: the disk has its full speed with it, and the caches of a processor still hold what is copied there. Aligned
// as no disk asks for more.
constexpr std::size_t kBlockBytes = std::size_t{4} << 20;
constexpr std::size_t kAlignment = 4096;
constexpr const char* kTemporaryMark = ".partial-";

/// No two names of one process are equal.
std::filesystem::path temporary_name(const std::filesystem::path& path) {
    static std::atomic<unsigned> counter = 0;
    std::filesystem::path name = path;
    name += fmt::format("{}{}-{}", kTemporaryMark, ::getpid(), counter++);
    return name;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
    return path.has_parent_path() ? path.parent_path() : ".";
}

}  // namespace

OutputFile::OutputFile(std::filesystem::path path, Existing existing)
    : path_(std::move(path)), temporary_(temporary_name(path_)), existing_(existing) {
    refuse_existing();
    remove_leftovers();
    open_new();
    ::flock(file_, LOCK_EX | LOCK_NB);  // for as long as it is written: what nobody holds is a leftover
    for (Block* block : {&filled_, &written_}) {
        block->reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, kBlockBytes)));
        if (*block == nullptr) throw std::bad_alloc();
    }
}

void OutputFile::open_new() {
    for (const int direct : {O_DIRECT, 0}) {
        is_direct_ = direct != 0;
        file_ = ::open(folder_of(path_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC | direct, 0666);
        if (file_ >= 0) return;
        file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | direct, 0666);
        if (file_ >= 0) {
            is_named_ = true;
            return;
        }
        const int error = errno;
        if (direct != 0 && error == EINVAL) ::unlink(temporary_.c_str());  // some create it before they refuse the flag
        errno = error;
        if (error != EINVAL) break;
    }
    fail("cannot be created");
}

OutputFile::~OutputFile() {
    if (is_written_.valid()) is_written_.wait();
    if (file_ < 0) return;
    ::close(file_);
    if (is_named_) ::unlink(temporary_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto piece = bytes.first(std::min(bytes.size(), kBlockBytes - buffered_));
        std::memcpy(filled_.get() + buffered_, piece.data(), piece.size());
        buffered_ += piece.size();
        size_ += piece.size();
        bytes = bytes.subspan(piece.size());
        if (buffered_ == kBlockBytes) begin_block();
    }
}

void OutputFile::overwrite(std::uint64_t position, std::span<const std::byte> bytes) {
    if (position > size_ || bytes.size() > size_ - position) {
        throw std::logic_error(
            fmt::format("Bytes {} to {} of an output of {}.", position, position + bytes.size(), size_));
    }
    flush();
    write_at(position, bytes);
}

void OutputFile::commit() {
    flush();
    if (::fsync(file_) != 0) fail("cannot be written to the disk");
    refuse_existing();
    if (!put_in_place()) {
        const int error = errno;
        if (is_named_) ::unlink(temporary_.c_str());
        errno = error;
        fail("cannot be put in place");
    }
    // The name is durable once its folder is.
    const int handle = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) return;  // a folder that may be written but not read
    const int result = ::fsync(handle);
    const int error = errno;
    ::close(handle);
    errno = error;
    if (result != 0 && error != EINVAL)
        fail("may be lost if the machine stops now: its folder cannot be written to the disk");
}

bool OutputFile::put_in_place() {
    const int file = std::exchange(file_, -1);
    if (!is_named_) {  // a link never replaces what is there, a rename does
        const std::string nameless = fmt::format("/proc/self/fd/{}", file);
        is_named_ = ::linkat(AT_FDCWD, nameless.c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) == 0;
        if (!is_named_) {
            const int error = errno;
            ::close(file);
            errno = error;
            return false;
        }
    }
    return ::close(file) == 0 && ::rename(temporary_.c_str(), path_.c_str()) == 0;
}

void OutputFile::remove_leftovers() const {
    const std::string mark = path_.filename().string() + kTemporaryMark;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder_of(path_), error)) {
        if (!entry.path().filename().string().starts_with(mark)) continue;
        const int left = ::open(entry.path().c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
        if (left < 0) continue;
        if (::flock(left, LOCK_EX | LOCK_NB) == 0) ::unlink(entry.path().c_str());  // its writer is gone
        ::close(left);
    }
}

void OutputFile::begin_block() {
    finish_block();
    std::swap(filled_, written_);
    buffered_ = 0;
    is_written_ = std::async(std::launch::async, [this, position = size_ - kBlockBytes] {
        write_at(position, {written_.get(), kBlockBytes});
    });
}

void OutputFile::finish_block() {
    if (is_written_.valid()) is_written_.get();
}

void OutputFile::flush() {
    finish_block();
    through_the_page_cache();
    write_at(size_ - buffered_, {filled_.get(), buffered_});
    buffered_ = 0;
}

void OutputFile::through_the_page_cache() {
    if (!is_direct_) return;
    const int flags = ::fcntl(file_, F_GETFL);
    if (flags < 0 || ::fcntl(file_, F_SETFL, flags & ~O_DIRECT) != 0) fail("cannot be written");
    is_direct_ = false;
}

void OutputFile::write_at(std::uint64_t position, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(position));
        if (written < 0 && errno == EINTR) continue;
        if (written < 0 && errno == EINVAL && is_direct_) {  // a disk that asks for more alignment, or took a part
            through_the_page_cache();
            continue;
        }
        if (written < 0) fail("cannot be written");
        position += static_cast<std::uint64_t>(written);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

void OutputFile::refuse_existing() const {
    std::error_code ignored;
    if (std::filesystem::is_directory(path_, ignored)) {
        throw DataError(fmt::format("\"{}\" is a directory; name a file in it.", path_.string()));
    }
    if (existing_ == Existing::keep && std::filesystem::exists(std::filesystem::symlink_status(path_, ignored))) {
        throw DataError(fmt::format("\"{}\" exists already and is not overwritten; choose another name or remove it.",
                                    path_.string()));
    }
}

void OutputFile::fail(const char* operation) const {
    const int error = errno;
    const char* remedy = "check the path and the disk";
    if (error == ENOSPC || error == EDQUOT) remedy = "free some space there";
    if (error == EFBIG) remedy = "raise the limit on the size of files (ulimit -f), or write to another file system";
    if (error == ENOENT) remedy = "create its folder first";
    if (error == EACCES || error == EPERM || error == EROFS) remedy = "choose a folder that this user may write to";
    throw DataError(fmt::format("\"{}\" {}: {}; {}.", path_.string(), operation, std::strerror(error), remedy));
}

}  // namespace smp::runtime
