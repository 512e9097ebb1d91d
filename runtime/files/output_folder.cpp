#include "runtime/files/output_folder.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {
namespace {

constexpr const char* kPartialMark = ".partial-";

/// Without a slash at its end, so that it has a name.
std::filesystem::path named(const std::filesystem::path& path) {
    const auto absolute = std::filesystem::absolute(path).lexically_normal();
    return absolute.has_filename() ? absolute : absolute.parent_path();
}

std::filesystem::path partial_name(std::filesystem::path path) {
    static std::atomic<unsigned> counter = 0;
    path += fmt::format("{}{}-{}", kPartialMark, ::getpid(), counter++);
    return path;
}

int opened(const std::filesystem::path& folder) { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

}  // namespace

OutputFolder::OutputFolder(std::filesystem::path path, Existing existing)
    : final_(named(path)), partial_(partial_name(final_)), existing_(existing) {
    refuse_existing();
    remove_leftovers();
    if (::mkdir(partial_.c_str(), 0777) != 0) fail("cannot be created", errno);
    lock_ = opened(partial_);
    if (lock_ < 0) fail("cannot be opened", errno);
    ::flock(lock_, LOCK_EX | LOCK_NB);
}

OutputFolder::~OutputFolder() {
    std::error_code none;
    std::filesystem::remove_all(partial_, none);
    if (lock_ >= 0) ::close(lock_);
}

void OutputFolder::commit() {
    if (::fsync(lock_) != 0 && errno != EINVAL) fail("cannot be written to the disk", errno);
    refuse_existing();
    std::error_code none;
    // What is replaced gets the partial name in the same step, and goes with it. Not every file system can do that.
    bool is_there = existing_ == Existing::replace && !std::filesystem::is_empty(final_, none) && !none;
    if (is_there && ::renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, final_.c_str(), RENAME_EXCHANGE) != 0) {
        if (errno != EINVAL && errno != ENOSYS) fail("cannot be replaced", errno);
        std::filesystem::remove_all(final_, none);
        is_there = false;
    }
    if (!is_there && ::rename(partial_.c_str(), final_.c_str()) != 0) fail("cannot be put in place", errno);
    const int parent = opened(final_.parent_path());
    if (parent < 0) return;  // a folder that may be written but not read
    const int error = ::fsync(parent) == 0 ? 0 : errno;
    ::close(parent);
    if (error != 0 && error != EINVAL)
        fail("may be lost if the machine stops now: its folder cannot be written to the disk", error);
}

void OutputFolder::remove_leftovers() const {
    const std::string mark = final_.filename().string() + kPartialMark;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(final_.parent_path(), none)) {
        if (!entry.path().filename().string().starts_with(mark)) continue;
        const int left = opened(entry.path());
        if (left < 0) continue;
        if (::flock(left, LOCK_EX | LOCK_NB) == 0)
            std::filesystem::remove_all(entry.path(), none);  // its writer is gone
        ::close(left);
    }
}

void OutputFolder::refuse_existing() const {
    std::error_code none;
    const auto status = std::filesystem::symlink_status(final_, none);
    if (!std::filesystem::exists(status)) return;
    if (!std::filesystem::is_directory(status))
        throw DataError(fmt::format("\"{}\" exists and is no folder; choose another name.", final_.string()));
    if (existing_ == Existing::keep && !std::filesystem::is_empty(final_, none))
        throw DataError(fmt::format("\"{}\" exists already and is not overwritten; choose another name or remove it.",
                                    final_.string()));
}

void OutputFolder::fail(const char* operation, int error) const {
    const char* remedy = "check the path and the disk";
    if (error == ENOSPC || error == EDQUOT) remedy = "free some space there";
    if (error == ENOENT) remedy = "create the folder around it first";
    if (error == EACCES || error == EPERM || error == EROFS) remedy = "choose a folder that this user may write to";
    throw DataError(fmt::format("\"{}\" {}: {}; {}.", final_.string(), operation, std::strerror(error), remedy));
}

}  // namespace smp::runtime
