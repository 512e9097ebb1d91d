// Which checkpoint a path names, and which model it is of.
#pragma once

#include <string>

#include "models/gpt2/options.h"
#include "runtime/checkpoint/checkpoint.h"

namespace smp::launch {

/// A checkpoint's folder, or the newest one of a run's output directory or of a folder of checkpoints. Throws
/// DataError.
runtime::Checkpoint open_checkpoint(const std::string& path);

/// As the configuration in its manifest says. Throws DataError where that is no GPT-2's, or its tensors are others.
models::Gpt2Options model_of(const runtime::Checkpoint& checkpoint);

}  // namespace smp::launch
