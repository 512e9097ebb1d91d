// Where parameters may begin in a rank's flat buffers, and what that takes: known to the layout of the buffers and to
// the plan, which says how long they are.
#pragma once

#include <cstdint>

#include "partition/job/precision.h"

namespace smp::partition {

/// Each parameter begins at 256 bytes' edge of values, that is, at a multiple of so many elements.
constexpr std::int64_t flat_alignment(Precision precision) { return 256 / value_bytes(precision); }

/// The parameters of a chunk take a multiple of so many elements, of which each of `replicas` data-parallel ranks owns
/// an aligned share.
constexpr std::int64_t flat_multiple(Precision precision, int replicas) { return flat_alignment(precision) * replicas; }

/// What data-parallel ranks exchange at once of a chunk's gradients or parameters, about: 16 MiB of fp32, long enough
/// to fill a link, short enough to overlap.
inline constexpr std::int64_t kBucketElements = 4 << 20;

constexpr std::int64_t round_up(std::int64_t elements, std::int64_t multiple) {
    return (elements + multiple - 1) / multiple * multiple;
}

}  // namespace smp::partition
