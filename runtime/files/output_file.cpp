#include "runtime/files/output_file.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
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
    file_ = ::open(folder_of(path_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (file_ < 0) {
        file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file_ < 0) fail("cannot be created");
        is_named_ = true;
    }
    ::flock(file_, LOCK_EX | LOCK_NB);  // for as long as it is written: what nobody holds is a leftover
    buffer_.reserve(kBufferBytes);
}

OutputFile::~OutputFile() {
    if (file_ < 0) return;
    ::close(file_);
    if (is_named_) ::unlink(temporary_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
    if (buffer_.size() + bytes.size() > kBufferBytes) flush();
    if (bytes.size() > kBufferBytes) {
        write_at(size_, bytes);
    } else {
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    }
    size_ += bytes.size();
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

void OutputFile::flush() {
    if (buffer_.empty()) return;
    write_at(size_ - buffer_.size(), buffer_);
    buffer_.clear();
}

void OutputFile::write_at(std::uint64_t position, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(position));
        if (written < 0 && errno == EINTR) continue;
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
