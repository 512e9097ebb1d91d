// A folder that appears under its name when all of its files are in it, or not at all.
#pragma once

#include <filesystem>

namespace smp::runtime {

/// Filled beside its place as PATH.partial-…, which the destructor removes, or, where the process was killed, the next
/// writer of PATH. Every function throws DataError (path, cause, what to do) when the file system refuses.
class OutputFolder {
  public:
    enum class Existing { keep, replace };  ///< keep: a folder of that name with something in it is an error

    OutputFolder(std::filesystem::path path, Existing existing);
    ~OutputFolder();
    OutputFolder(const OutputFolder&) = delete;
    OutputFolder& operator=(const OutputFolder&) = delete;

    /// Where its files are put until commit(); each must be on the disk by then.
    const std::filesystem::path& path() const { return partial_; }
    /// Gives it its name, and makes that durable.
    void commit();

  private:
    void refuse_existing() const;
    void remove_leftovers() const;
    [[noreturn]] void fail(const char* operation, int error) const;

    std::filesystem::path final_, partial_;
    Existing existing_;
    int lock_ = -1;  // the folder, held for as long as it is filled: what nobody holds is a leftover
};

}  // namespace smp::runtime
