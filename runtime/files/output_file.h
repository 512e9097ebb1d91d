// A file that appears under its name when it is complete, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace smp::runtime {

/// Written in the same folder without a name (O_TMPFILE), so that nothing is left of it without commit(), however the
/// process ends; commit() makes the bytes durable and gives them their name. A file system that has no such files gets
/// a temporary name, PATH.partial-…, which the destructor removes, or, where the process was killed, the next writer of
/// PATH. Every function throws DataError (path, cause) when the file system refuses.
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
    void remove_leftovers() const;
    /// From `temporary_`, which has no name before.
    bool put_in_place();
    [[noreturn]] void fail(const char* operation) const;  // with errno

    std::filesystem::path path_, temporary_;
    Existing existing_;
    int file_ = -1;
    bool is_named_ = false;  // `temporary_` is there
    std::uint64_t size_ = 0;
    std::vector<std::byte> buffer_;
};

}  // namespace smp::runtime
