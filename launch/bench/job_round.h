// One round of one configuration: set up, warmed up, timed, traced, gone.
#pragma once

#include "comms/communicator.h"
#include "launch/bench/measurement.h"
#include "launch/config/config.h"
#include "launch/train/run_ranks.h"
#include "partition/foresight/action_times.h"
#include "partition/plan/plan.h"

namespace smp::launch {

/// Of the pipeline of tensor rank 0 and replica 0, simulated with the times that its actions took: the share of all
/// its stages' time in which one stood still while what it waited for was on its way (partition::StageTime::exposed).
double exposed_share(const partition::Plan& plan, const partition::StepTimes& times);

/// Trains the job of `config` for one round on all of `ranks` and adds what was measured to `row`, on rank 0.
/// `are_threads`: all ranks have to fit this machine's memory together. Collective; throws what runtime::Trainer
/// throws, and agreed failures. Writes nothing.
void measure_round(const Config& config, const MeasuringOptions& options, bool are_threads, comms::Communicator& ranks,
                   const TellFailure& tell_failure, Measurement& row);

}  // namespace smp::launch
