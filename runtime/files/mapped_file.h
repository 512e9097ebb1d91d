// A file's bytes in memory, read only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace smp::runtime {

/// Maps the whole file; pages are read when they are touched. Move-only; the bytes keep their address when the object
/// moves. The size is that of the moment of opening. Replace data files by renaming, never by truncating: where another
/// program shortens one, or the disk fails, the pages that are gone read as zeros and require_whole() throws. (The
/// system says so by SIGBUS; the first mapping of a process installs a handler that takes it for these mappings only.)
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

    /// Throws DataError unless the bytes that were read until now are the file's. To be called after reading, before
    /// what was read is used.
    void require_whole() const;

    /// What was read until now need not stay in this process's memory; it is read again when it is touched.
    void let_go() const;

  private:
    std::filesystem::path path_;
    std::span<const std::byte> bytes_;
    struct Region;
    Region* region_ = nullptr;  // what the handler knows of the mapping
    std::size_t last_ = 0;      // the last byte that is not 0: a file that loses a byte before it loses it too
    bool ends_in_zeros_ = false;
};

}  // namespace smp::runtime
