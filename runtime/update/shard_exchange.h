// What data-parallel ranks exchange of their flat buffers, chunk by chunk, beside what computes: gradients are reduced
// to the rank that owns their shard, and what the owners have is gathered.
#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "runtime/state/flat_layout.h"

namespace smp::runtime {

/// Over one group, a section of the layout at a time. A bounded number of buckets is in flight, for all sections
/// together: their collectives begin in one order, which is the same on every rank however differently they advance.
///
/// All operations are asynchronous, moved on by progress(), and collective: in the same order on all ranks, and nothing
/// else on the group before all that was begun is complete. Until then the section's memory must stay untouched. A
/// group of one does nothing.
class ShardExchange {
  public:
    /// `group` and `layout` must outlive it.
    ShardExchange(comms::Communicator& group, const FlatLayout& layout);
    ~ShardExchange();
    ShardExchange(const ShardExchange&) = delete;
    ShardExchange& operator=(const ShardExchange&) = delete;

    /// Once complete, this rank's pieces of the section of `flat` [layout.elements] are the sum over the group, added
    /// in rank order; the rest of the section holds nothing of use.
    comms::Work reduce_scatter(const at::Tensor& flat, int section);
    /// Once complete, the whole section is what its pieces are on their owners.
    comms::Work gather(const at::Tensor& flat, int section);
    /// Both: the whole section is the sum, on every rank. A bucket is gathered while the next one is reduced.
    comms::Work all_reduce(const at::Tensor& flat, int section);

  private:
    class Queue;
    class SectionOperation;

    std::int64_t add_reduction(const at::Tensor& flat, const Range& bucket);
    std::int64_t add_gather(const at::Tensor& flat, const Range& bucket, std::int64_t reduced);
    comms::Work until(std::int64_t last, const char* what, int section);

    comms::Communicator& group_;
    const FlatLayout& layout_;
    std::shared_ptr<Queue> queue_;
};

}  // namespace smp::runtime
