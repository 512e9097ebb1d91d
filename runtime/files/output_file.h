// A file that appears under its name when it is complete, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <span>

namespace smp::runtime {

/// Written in the same folder without a name (O_TMPFILE), so that nothing is left of it without commit(), however the
/// process ends; commit() makes the bytes durable and gives them their name. A file system that has no such files gets
/// a temporary name, PATH.partial-…, which the destructor removes, or, where the process was killed, the next writer of
/// PATH. Every function throws DataError (path, cause) when the file system refuses.
///
/// Blocks go to the disk past the page cache (O_DIRECT) where the file system has that: of the processor this takes a
/// twentieth of what copying into the cache and writing back takes, and a training beside it goes on nearly
/// undisturbed. One block is being written while the next is filled: what the file system refuses is said a call later.
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
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };

    using Block = std::unique_ptr<std::byte[], Free>;

    void open_new();
    /// Begins to write the block that is filled.
    void begin_block();
    /// Waits for the block that is being written.
    void finish_block();
    void flush();
    /// Blocks that follow end anywhere.
    void through_the_page_cache();
    void write_at(std::uint64_t position, std::span<const std::byte> bytes);
    void refuse_existing() const;
    void remove_leftovers() const;
    /// From `temporary_`, which has no name before.
    bool put_in_place();
    [[noreturn]] void fail(const char* operation) const;  // with errno

    std::filesystem::path path_, temporary_;
    Existing existing_;
    int file_ = -1;
    bool is_named_ = false;   // `temporary_` is there
    bool is_direct_ = false;  // past the page cache, in whole blocks
    std::uint64_t size_ = 0;  // with what is in the buffer
    Block filled_, written_;
    std::size_t buffered_ = 0;      // bytes in `filled_`
    std::future<void> is_written_;  // `written_`
};

}  // namespace smp::runtime
