// The folder that the checkpoints of a run lie in: `step_NNNNNNNN` each, and `step_NNNNNNNN.partial` while one is
// written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "runtime/checkpoint/manifest.h"

namespace smp::runtime {

struct FoundCheckpoint {
    std::int64_t step = 0;
    std::filesystem::path path;
};
/// By name alone, the newest first. A folder that is not there has none.
std::vector<FoundCheckpoint> checkpoints_in(const std::filesystem::path& folder);

/// What a path of a person's names: a checkpoint, the checkpoints in a folder of them, or those of a run's output
/// directory, the newest first. Empty where it is none of them.
std::vector<std::filesystem::path> checkpoints_named(const std::filesystem::path& path);

/// The name of a rank's file in a checkpoint.
std::string part_name(int rank);
/// Puts the manifest into the folder of a checkpoint, whose other files are there. Throws DataError.
void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t step);

/// What a run that was killed has left half written. Only whoever holds the run's lock may ask for it.
void remove_partial_checkpoints(const std::filesystem::path& folder);

/// One checkpoint on its way from parts to a whole. Every function throws DataError with the path and the cause.
class PartialCheckpoint {
  public:
    PartialCheckpoint(std::filesystem::path folder, std::int64_t step);

    std::filesystem::path part(int rank) const;
    /// Makes the folder where it is not there yet: any rank may be first.
    void create() const;
    /// Rank's file is on the disk: says so to the rank that commits, under the name of this run.
    void announce(const PartFile& file, int rank, const std::string& run) const;
    /// The files of all ranks, if all have been announced.
    bool collect(int ranks, const std::string& run, std::vector<PartFile>& files) const;
    /// Writes the manifest, puts the folder in place of one of the same step, and makes all that durable.
    void commit(const Manifest& manifest, int ranks) const;
    /// As if it had not been begun. Never throws.
    void remove() const noexcept;

  private:
    std::filesystem::path announcement(int rank) const;

    std::filesystem::path folder_, partial_, final_;
};

/// Removes all but the newest `keep`.
void remove_old_checkpoints(const std::filesystem::path& folder, std::int64_t keep);

}  // namespace smp::runtime
