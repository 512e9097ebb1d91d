// Between the tensors of a rank and checkpoints.
#pragma once

#include "models/model_spec.h"
#include "partition/plan/plan.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/checkpoint_writer.h"
#include "runtime/stage/stage.h"
#include "runtime/update/adamw.h"

namespace smp::runtime {

/// The tensors of one rank, and what is needed to say which they are. Borrowed.
struct RankTensors {
    const partition::Plan& plan;
    const models::ModelSpec& model;
    int rank = 0;
    const Stage& stage;
    const AdamW& optimizer;
};

/// The elements whose counting copy this rank has, copied: the ranks' snapshots have every element of the state once.
/// Waits for the device. Local.
Snapshot take_snapshot(const RankTensors& tensors, const TrainingState& state, const std::string& configuration);

/// Fills everything that this rank holds, in the precision in which it is held here. Local. Throws DataError, for
/// weights that are not finite too, and partition::ConfigError for those that the precision cannot hold; then the
/// tensors are partly filled.
void restore(const RankTensors& tensors, Checkpoint& checkpoint);

}  // namespace smp::runtime
