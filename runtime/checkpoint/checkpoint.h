// Reads a checkpoint: any elements of any tensor, each byte under its sum.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
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

    /// Every chunk of every file whose sum does not hold, as a sentence with file and byte; and every element that is
    /// in no piece or in two.
    std::vector<std::string> faults();

  private:
    struct File;
    struct Place;

    const std::vector<Place>& places_of(std::string_view tensor, StateKind kind);

    std::filesystem::path folder_;
    Manifest manifest_;
    std::vector<File> files_;
    std::map<std::pair<std::string, StateKind>, std::vector<Place>, std::less<>> places_;  // of what was asked for
};

}  // namespace smp::runtime
