// A chunk's part of a rank's flat buffers of values and gradients: how long it is, and how it is cut for what
// data-parallel ranks exchange of it.
#pragma once

#include <cstdint>

#include "partition/job/fields.h"
#include "partition/job/ids.h"
#include "partition/job/module_graph.h"
#include "partition/stages/assignment.h"

namespace smp::partition {

struct FlatSection {
    std::int64_t elements = 0;         // with the padding behind each parameter and behind the last
    std::int64_t bucket_elements = 0;  // of each bucket but the last, which has the rest; 0: it is exchanged at once

    /// 0 where it is exchanged at once.
    int buckets() const {
        return bucket_elements == 0 ? 0 : static_cast<int>((elements + bucket_elements - 1) / bucket_elements);
    }
    /// Of its buckets; none, once, where it is exchanged at once.
    IdRange<BucketId> bucket_ids() const {
        return buckets() == 0 ? IdRange<BucketId>(BucketId(), BucketId(0)) : first_ids<BucketId>(buckets());
    }
    /// Where a bucket begins in the section (none: at its beginning), and how long it is.
    std::int64_t begin_of(BucketId bucket) const { return bucket == kNone ? 0 : bucket.number() * bucket_elements; }
    std::int64_t elements_of(BucketId bucket) const;

    bool operator==(const FlatSection&) const = default;
};
template <>
struct Fields<FlatSection> {
    static constexpr auto list = fields<FlatSection>(stated("elements", &FlatSection::elements),
                                                     field("bucket_elements", &FlatSection::bucket_elements));
};

/// The elements of a chunk's parameters, padded to a multiple of flat_multiple. A shared parameter counts where its
/// first copy on the stage is: the others use its values.
std::int64_t section_elements(const ModuleGraph& graph, const Chunks& chunks, ChunkId chunk, int replicas);

/// Of each chunk, in buckets of about kBucketElements, aligned as shards are, where that cuts it and there are
/// `replicas` to exchange it with.
Table<ChunkId, FlatSection> flat_sections(const ModuleGraph& graph, const Chunks& chunks, int replicas);

}  // namespace smp::partition
