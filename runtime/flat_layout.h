// Where each parameter of a rank lies in its flat buffers: a value, computed before any tensor exists.
#pragma once

#include <cstdint>
#include <vector>

#include "models/parameter.h"

namespace smp::runtime {

/// 64 fp32 elements = 256 bytes: the alignment of every parameter, and the size of the blocks whose sums of squares
/// make the gradient norm.
inline constexpr std::int64_t kBlockElements = 64;

/// [begin, end) of a flat buffer, in elements.
struct Range {
    std::int64_t begin = 0;
    std::int64_t end = 0;

    std::int64_t size() const { return end - begin; }
    bool operator==(const Range&) const = default;
};

/// The part of two ranges that is in both; empty (size 0) where they do not meet.
Range intersection(const Range& a, const Range& b);

/// Parameters of one rank in order of their modules, aligned to kBlockElements, and padded so that every bucket divides
/// by blocks over the data-parallel ranks. A tied parameter whose partner lies on the same rank has no place of its
/// own: it uses the partner's values, and its gradient is a separate buffer.
struct FlatLayout {
    std::vector<Range> places;   // for each parameter; a tied one that has no own place shows its partner's
    std::vector<int> partner;    // index of the parameter whose values it shares, −1 for all others
    std::int64_t elements = 0;   // padded total
    std::vector<Range> buckets;  // consecutive, cover [0, elements)
    int shards = 1;

    /// The pieces that data-parallel rank `shard` owns after a reduce-scatter: one in each bucket.
    std::vector<Range> owned(int shard) const;
};

/// `shards` = data-parallel degree. A bucket has about `bucket_elements` elements.
FlatLayout lay_out(const std::vector<models::Parameter>& parameters, int shards, std::int64_t bucket_elements);

}  // namespace smp::runtime
