// How parameters get their first values: drawn by key, or read from Hugging Face safetensors.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/model_spec.h"
#include "runtime/job/options.h"
#include "runtime/stage/stage.h"

namespace smp::runtime {

/// Fills the stage's values: from training.initial_weights (under the names that `model` knows them by) where it is
/// given, else drawn by (training.seed, name, element). Reads only the bytes of the rank's own slices. Throws DataError
/// for a tensor that is missing, or of another shape or dtype; for one that the file's model computes with and this one
/// has no place for; for tied parameters whose values differ in the file; for values that are not
/// finite, in the file or as the stage holds them; and where the config.json beside the file
/// describes another model. Returns sentences about tensors that nothing is made of. Where values are 16 bits wide,
/// `take` gets those of each parameter before they are rounded (fp32, of its local shape, there until it returns).
/// Local.
std::vector<std::string> set_initial_weights(
    Stage& stage, const models::ModelSpec& model, const TrainingOptions& training,
    const std::function<void(int parameter, const at::Tensor& values)>& take = {});

}  // namespace smp::runtime
