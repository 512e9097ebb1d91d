// One number for what a training has come to, whatever layout it was trained in.
#pragma once

#include <string>

#include "runtime/checkpoint/checkpoint.h"

namespace smp::runtime {

/// XXH3-128 of the canonical tensors: over the fp32 bytes (row-major, little-endian) of all weights in the order of the
/// manifest, which is that of the model, then of all first moments, then of all second moments. Names, shapes, counters
/// and files are not in it. Reads everything, each byte under its sum, in bounded memory. Throws DataError.
std::string state_hash(Checkpoint& checkpoint);

}  // namespace smp::runtime
