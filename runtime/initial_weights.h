// How parameters get their first values: drawn by key, or read from Hugging Face safetensors.
#pragma once

#include "runtime/options.h"
#include "runtime/stage.h"

namespace smp::runtime {

/// Fills the stage's values: from training.initial_weights (names with or without "transformer.") where it is given,
/// else drawn by (training.seed, name, element). Reads only the bytes of the rank's own slices. Throws DataError for a
/// tensor that is missing, or of another shape or dtype. Local.
void set_initial_weights(Stage& stage, const TrainingOptions& training);

}  // namespace smp::runtime
