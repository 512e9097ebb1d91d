// A checkpoint with the state of another, or with that of a file of weights, written by one process.
#pragma once

#include <filesystem>
#include <vector>

#include "models/model_spec.h"
#include "partition/plan/plan.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/part_writer.h"

namespace smp::runtime {

/// The checkpoint in `folder`, which is not there or empty: complete when this returns, else as it was. One element of
/// `files` becomes a file; `manifest` has none yet. Throws DataError, and what the sources throw.
void write_checkpoint(const std::filesystem::path& folder, Manifest manifest,
                      std::vector<std::vector<PieceSource>> files);

/// The state of `from`, which must outlive the result, in the files that the ranks of `plan` would write. Memory that
/// does not grow with the model; writing reads each byte under its sum.
std::vector<std::vector<PieceSource>> relaid(Checkpoint& from, const partition::Plan& plan,
                                             const models::ModelSpec& model, partition::Precision precision);

}  // namespace smp::runtime
