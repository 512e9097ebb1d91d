// Reads a checkpoint: any elements of any tensor, each byte under its sum.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/checkpoint/manifest.h"
#include "runtime/files/safetensors.h"

namespace smp::runtime {

class Checkpoint {
  public:
    /// Reads the manifest and the headers of the files. Throws DataError, which names what is missing or changed.
    explicit Checkpoint(std::filesystem::path folder);
    ~Checkpoint();
    Checkpoint(Checkpoint&&) noexcept;

    const std::filesystem::path& path() const { return folder_; }
    const Manifest& manifest() const { return manifest_; }

    /// Elements first … first + size − 1 of a tensor, row-major. Reads their bytes and those that stand under the same
    /// sums. Throws DataError where a sum does not hold or elements are in no file.
    void read(std::string_view tensor, StateKind kind, std::int64_t first, std::span<float> values);
    /// The same, handed over in parts of bounded size.
    void read_all(std::string_view tensor, StateKind kind, std::int64_t first, std::int64_t count,
                  const std::function<void(std::span<const float>)>& take);

    /// Every chunk of every file whose sum does not hold, as a sentence with file and byte; if all hold, every tensor
    /// that is not there once. Throws DataError for a file that is not what the manifest says although its sums hold.
    std::vector<std::string> faults();

  private:
    struct File;
    struct Place;

    const std::vector<Place>& places_of(std::string_view tensor, StateKind kind);
    /// Keeps what this process has of the files in memory bounded, however much is read.
    void let_go_after(std::size_t bytes);

    std::filesystem::path folder_;
    Manifest manifest_;
    std::vector<File> files_;
    std::map<std::pair<std::string, StateKind>, std::vector<Place>, std::less<>> places_;  // of what was asked for
    std::size_t read_ = 0;  // bytes since the files were let go of
};

}  // namespace smp::runtime
