// A file's bytes in memory, read only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace smp::runtime {

/// Maps the whole file; pages are read when they are touched. Move-only; the bytes keep their address when the object
/// moves. The size is that of the moment of opening: a file that another program shortens afterwards ends this one
/// (SIGBUS), so replace data files by renaming, never by truncating.
class MappedFile {
  public:
    /// Throws DataError if the path does not exist, is no regular file, must not be read, is empty or cannot be mapped.
    explicit MappedFile(std::filesystem::path path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::span<const std::byte> bytes() const { return bytes_; }  ///< never empty but after a move
    std::size_t size() const { return bytes_.size(); }

  private:
    std::filesystem::path path_;
    std::span<const std::byte> bytes_;
};

}  // namespace smp::runtime
