#include "runtime/files/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {
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
        throw DataError(fmt::format(
            "\"{}\" is no regular file and cannot be mapped; copy its content into a file first.", path_.string()));
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
}

MappedFile::~MappedFile() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

}  // namespace smp::runtime
