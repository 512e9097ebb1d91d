// From a configuration and a checkpoint to its validation loss.
#pragma once

#include "comms/communicator.h"
#include "launch/config/config.h"
#include "launch/train/run_ranks.h"
#include "launch/train/train_arguments.h"

namespace smp::launch {

/// --evaluate: rank 0 prints which checkpoint it is and its validation loss, with the digits of metrics.jsonl. Trains
/// nothing and writes nothing: a run that goes on in the output directory is not disturbed. Returns the exit code.
/// Collective; throws what the trainer throws, ConfigError without validation data, DataError without a checkpoint.
int evaluate(const TrainArguments& arguments, const Config& config, comms::Communicator& world,
             const TellFailure& tell_failure);

}  // namespace smp::launch
