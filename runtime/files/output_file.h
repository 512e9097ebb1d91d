// A file that appears under its name when it is complete, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace smp::runtime {

/// Written under a temporary name in the same folder; commit() makes the bytes durable and renames. Without commit()
/// the destructor removes what was written. Every function throws DataError (path, cause) when the file system refuses.
class OutputFile {
  public:
    enum class Existing { keep, replace };  ///< keep: a file of that name is an error, now and at commit()

    OutputFile(std::filesystem::path path, Existing existing);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(std::span<const std::byte> bytes);                              ///< at the end
    void overwrite(std::uint64_t position, std::span<const std::byte> bytes);  ///< inside what was written
    std::uint64_t size() const { return size_; }
    void commit();

  private:
    void flush();
    void write_at(std::uint64_t position, std::span<const std::byte> bytes);
    void refuse_existing() const;
    [[noreturn]] void fail(const char* operation) const;  // with errno

    std::filesystem::path path_, temporary_;
    Existing existing_;
    int file_ = -1;
    std::uint64_t size_ = 0;
    std::vector<std::byte> buffer_;
};

}  // namespace smp::runtime
