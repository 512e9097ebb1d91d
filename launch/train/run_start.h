// Where a run begins: anew, from a checkpoint, or not at all because it is finished.
#pragma once

#include <filesystem>
#include <string>
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

/// Loads the first of the checkpoints that is whole. Sentences for a person: which one, what of the configuration is
/// another than in the run that wrote it, which ones were passed over and why. Throws what Trainer::load throws, and
/// DataError where none is whole. Collective.
std::vector<std::string> go_on(runtime::Trainer& trainer, const RunBeginning& beginning);

}  // namespace smp::launch
