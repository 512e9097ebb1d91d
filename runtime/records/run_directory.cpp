#include "runtime/records/run_directory.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "partition/job/problem.h"
#include "runtime/files/data_error.h"
#include "runtime/files/text_file.h"

namespace smp::runtime {

namespace {

constexpr const char* kLock = ".lock";

/// A run's folder has its lock from the first moment on.
void refuse_folder_of_others(const std::filesystem::path& path) {
    std::error_code error;
    if (std::filesystem::is_regular_file(std::filesystem::symlink_status(path / kLock, error))) return;
    const auto first = std::filesystem::directory_iterator(path, error);
    if (error || first == std::filesystem::directory_iterator()) return;  // not there, no folder, empty
    throw partition::ConfigError(partition::Problem{
        "--output",
        fmt::format("is {}, a folder without a run that holds other files ({}); choose a new or an empty one",
                    path.string(), first->path().filename().string())});
}

}  // namespace

bool is_file_of_a_run(const std::filesystem::path& name) {
    const std::string text = name.string();
    for (const char* own :
         {kLock, "config.json", "plan.json", "metrics.jsonl", "run.json", "trace.json", "report.html"})
        if (text == own) return true;
    return text.starts_with("log.") && text.ends_with(".txt");
}

LineFile::LineFile(std::filesystem::path path, Start start) : path_(std::move(path)) {
    std::error_code ignored;
    if (std::filesystem::is_symlink(path_, ignored))
        throw DataError(
            fmt::format("{} is a link, and what it leads to is not written over; remove the link or choose "
                        "another --output directory",
                        path_.string()));
    file_ =
        ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (start == Start::anew ? O_TRUNC : 0), 0666);
    if (file_ < 0)
        throw DataError(fmt::format("cannot write {}: {}; choose a writable --output directory", path_.string(),
                                    std::strerror(errno)));
}

LineFile::~LineFile() { ::close(file_); }

void LineFile::append(std::string_view bytes) {
    std::string_view rest = bytes;
    struct stat before {};
    const bool has_size = ::fstat(file_, &before) == 0 && S_ISREG(before.st_mode);
    ssize_t written = 0;
    while (!rest.empty() && (written >= 0 || errno == EINTR)) {
        written = ::write(file_, rest.data(), rest.size());
        if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
    }
    if (rest.empty()) return;
    const int reason = errno;
    // Where that fails, too, what is torn stays: going on leaves it out.
    [[maybe_unused]] const int taken_back = has_size ? ::ftruncate(file_, before.st_size) : -1;
    throw DataError(fmt::format("cannot write to {}: {}; free space there or choose another --output directory",
                                path_.string(), std::strerror(reason)));
}

RunDirectory::RunDirectory(std::filesystem::path path) : path_(std::move(path)) {
    refuse_folder_of_others(path_);
    std::error_code error;
    std::filesystem::create_directories(path_, error);
    if (error)
        throw DataError(fmt::format("cannot create the output directory {}: {}; choose another one with --output",
                                    path_.string(), error.message()));
    const auto lock_path = path_ / kLock;
    lock_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (lock_ < 0)
        throw DataError(fmt::format("cannot create {}: {}; choose a writable --output directory", lock_path.string(),
                                    std::strerror(errno)));
    if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
        const int reason = errno;
        ::close(lock_);
        throw DataError(
            reason == EWOULDBLOCK
                ? fmt::format("another run is writing to {}; wait for it or choose another directory with --output",
                              path_.string())
                : fmt::format("cannot lock {}: {}; choose another directory with --output", lock_path.string(),
                              std::strerror(reason)));
    }
}

RunDirectory::~RunDirectory() { ::close(lock_); }

void RunDirectory::write_file(const std::string& name, const std::string& content) const {
    write_text(path_ / name, content);
}

void RunDirectory::set_earlier_run_aside(const std::filesystem::path& checkpoints) const {
    std::vector<std::filesystem::path> left;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(path_, error))
        if (is_file_of_a_run(entry.path().filename()) && entry.path().filename() != kLock) left.push_back(entry.path());
    for (const char* folder : {kExportedModel, kTensorBoard})
        if (std::filesystem::is_directory(path_ / folder, error)) left.push_back(path_ / folder);
    if (std::filesystem::exists(checkpoints, error) && !std::filesystem::is_empty(checkpoints, error))
        left.push_back(checkpoints);
    if (left.empty()) return;
    std::filesystem::path aside;
    for (int n = 1; aside.empty() || std::filesystem::exists(aside, error); ++n)
        aside = path_ / "earlier" / std::to_string(n);
    std::filesystem::create_directories(aside, error);
    for (const auto& file : left) {
        if (!error) std::filesystem::rename(file, aside / file.filename(), error);
        if (error)
            throw DataError(
                fmt::format("\"{}\", which an earlier run has left, cannot be moved to \"{}\": {}; move it, "
                            "or choose another --output directory",
                            file.string(), aside.string(), error.message()));
    }
}

}  // namespace smp::runtime
