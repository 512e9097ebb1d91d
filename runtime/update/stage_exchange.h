// What a rank exchanges of its stage's flat buffers with the ranks that hold the same stage: one call for each of the
// plan's actions.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <utility>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "partition/plan/action.h"
#include "runtime/stage/memory_meter.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/stage/stage.h"
#include "runtime/update/collective_lane.h"

namespace smp::runtime {

/// Gradients are summed over replicas, and over tensor ranks where each of those has seen its own rows only. Where
/// optimizer states are `sharded`, the sum is made for the owner of each shard alone, and values that owners have
/// updated are fetched before they are used. A data group of one does nothing.
class StageExchange {
  public:
    /// Takes the memory that the reductions of `program` (its training program) use, once for all steps. `groups` and
    /// `stage` must outlive it.
    StageExchange(RankGroups& groups, const Stage& stage, MemoryMeter& meter, const partition::RankProgram& program,
                  bool sharded);

    /// In one message: the sum of each element is that of the ranks in order, however many are summed together.
    /// Collective over the tensor group; the current stream has the sums.
    void sum_row_gradients(const partition::Action& action);
    /// Starts the sum of a bucket of a chunk's gradients: this rank's piece of it where states are sharded (the rest
    /// then holds nothing of use), else all of it, added in rank order. Until it is complete the bucket must stay
    /// untouched. Collective over the data group.
    comms::Work reduce_gradients(const partition::Action& action);
    /// Starts the gathering of a bucket of a chunk's values from the ranks that have updated them: nothing where they
    /// are as they were. Collective over the data group.
    comms::Work gather_parameters(const partition::Action& action);
    /// The owners have updated their shards.
    void values_updated();

  private:
    /// In its turn: on the CPU when there is room; on CUDA at once, since a device needs the same order on all ranks
    /// and does one after another anyway.
    comms::Work begin(const partition::Action& action, std::function<comms::Work()> collective);
    /// Of a flat buffer.
    Range bucket_of(const partition::Action& action) const;

    RankGroups& groups_;
    const Stage& stage_;
    const bool sharded_;
    CollectiveLane lane_;
    std::map<partition::BufferId, at::Tensor> scratch_;  // uint8
    /// Buckets of chunks whose values have been gathered since other ranks updated their shards of them.
    std::set<std::pair<partition::ChunkId, partition::BucketId>> gathered_;
    bool are_stale_ = false;
};

}  // namespace smp::runtime
