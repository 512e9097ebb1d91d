// Where a run begins: anew, from a checkpoint, or not at all because it is finished.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "launch/config/config.h"
#include "launch/train/train_arguments.h"
#include "runtime/records/run_directory.h"
#include "runtime/trainer.h"

namespace smp::launch {

struct RunBeginning {
    bool is_finished = false;
    std::vector<std::filesystem::path> checkpoints;  // to try, the newest first; none: anew
};

/// Of rank 0, which holds the directory: what --resume means there. Removes what a killed run has left half written,
/// and sets an earlier run aside where this one begins anew. `checkpoints` is where this run's lie. Throws
/// ConfigError for a finished run of another configuration, with the keys that differ, and for a --resume that names no
/// checkpoint; DataError.
RunBeginning beginning_of(const TrainArguments& arguments, const Config& config,
                          const std::filesystem::path& checkpoints, const runtime::RunDirectory& directory);

/// The same on every rank as on rank 0. Collective.
RunBeginning shared(comms::Communicator& world, const RunBeginning& beginning);

/// What --evaluate is about: the checkpoints that --resume names, or those in `checkpoints`, the newest first; none
/// with
/// --resume never. Changes nothing there. Throws ConfigError for a --resume that names no checkpoint, DataError where
/// there is none.
std::vector<std::filesystem::path> evaluated_checkpoints(const TrainArguments& arguments,
                                                         const std::filesystem::path& checkpoints);

/// The job of a configuration, with what trains its model, and its checkpoints in `output` where it does not say where.
runtime::Job job_of(const Config& config, const std::string& output);

/// A row of settings: which implementation the operators of a step take on the rank's device.
std::pair<std::string, std::string> kernels_row(const Config& config, const runtime::RankPlace& rank);

struct LoadedCheckpoint {
    std::filesystem::path path;            // empty: there was none to load
    std::vector<std::string> changed;      // since the run that has written it: "key: before -> now"
    std::vector<std::string> passed_over;  // sentences: which ones, and why
};

/// Loads the first of the checkpoints that is whole. Throws what Trainer::load throws, and DataError where none is
/// whole, which ends with `remedy`. Collective.
LoadedCheckpoint load_newest(runtime::Trainer& trainer, const std::vector<std::filesystem::path>& checkpoints,
                             const std::string& remedy);
/// For a person, about a training that goes on from it.
std::vector<std::string> sentences_about(const LoadedCheckpoint& loaded, std::int64_t steps_done);

}  // namespace smp::launch
