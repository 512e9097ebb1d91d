// Where each parameter of a rank lies in its flat buffers: a value, computed before any tensor exists.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/parameter.h"
#include "partition/job/precision.h"
#include "partition/plan/flat_section.h"
#include "runtime/state/norm_block.h"

namespace smp::runtime {

/// [begin, end) of a flat buffer, in elements.
struct Range {
    std::int64_t begin = 0;
    std::int64_t end = 0;

    std::int64_t size() const { return end - begin; }
    bool operator==(const Range&) const = default;
};

/// The part of two ranges that is in both; empty (size 0) where they do not meet.
Range intersection(const Range& a, const Range& b);

/// Parameters of one rank in order of their modules, each at 256 bytes' edge of values and gradients: one section a
/// chunk, padded so that each of its buckets divides by such lengths over the data-parallel ranks. Buckets lie inside
/// sections, as the plan has them, so that the gradients of a chunk can be reduced alone. A tied parameter whose
/// partner lies on the same rank has no place of its own: it uses the partner's values, and its gradient is a separate
/// buffer.
struct FlatLayout {
    std::vector<Range> places;          // for each parameter; a tied one that has no own place shows its partner's
    std::vector<int> partner;           // index of the parameter whose values it shares, −1 for all others
    std::int64_t elements = 0;          // padded total
    std::vector<Range> buckets;         // consecutive, cover [0, elements)
    std::vector<Range> bucket_indices;  // for each section: which of `buckets` it has; may be none
    int shards = 1;

    /// What data-parallel rank `shard` owns of a bucket after a reduce-scatter.
    Range piece(const Range& bucket, int shard) const;
    /// Those of all buckets.
    std::vector<Range> owned(int shard) const;
    std::span<const Range> buckets_of(int section) const;
};

/// `chunks`: the parameters of each of the rank's chunks, in order. Indices of parameters count through all of them.
/// `shards` = data-parallel degree. `sections`: how the plan has each chunk. Throws std::logic_error for a section of
/// another length than its parameters take, buckets that cannot be cut into shards, and a parameter that comes before
/// what it is tied to.
FlatLayout lay_out(std::span<const std::vector<models::Parameter>> chunks, int shards,
                   std::span<const partition::FlatSection> sections,
                   partition::Precision precision = partition::Precision::fp32);

}  // namespace smp::runtime
