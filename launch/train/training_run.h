// A training run from configuration to records: what smp_train does on each rank.
#pragma once

#include "comms/communicator.h"
#include "launch/config/config.h"
#include "launch/train/run_ranks.h"
#include "launch/train/train_arguments.h"

namespace smp::launch {

/// Collective over `world`; every rank passes equal arguments. Rank 0 prints, and writes the output directory
/// (INTERFACE §4). Returns the exit code.
int train(const TrainArguments& arguments, const Config& config, comms::Communicator& world,
          const TellFailure& tell_failure);

}  // namespace smp::launch
