// Initial weights: element e of a parameter is a function of (seed, name, e) alone, so every layout starts from the
// same.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "models/parameter.h"

namespace smp::models {

/// Fills `values` (contiguous fp32 of parameter.local_shape, on any device) with this rank's slice; padding becomes 0.
/// A tied parameter starts as the one it is tied to. Local; parallel over fixed blocks.
void initialise(at::Tensor values, const Parameter& parameter, std::uint64_t seed);

}  // namespace smp::models
