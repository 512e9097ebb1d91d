// What a rank exchanges of its stage's buffers, chunk by chunk, with the ranks that hold the same stage.
#pragma once

#include <vector>

#include "comms/communicator.h"
#include "runtime/stage/memory_meter.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/stage/stage.h"
#include "runtime/update/shard_exchange.h"

namespace smp::runtime {

/// Gradients are summed over replicas, and over tensor ranks where each of those has seen its own rows only. Where
/// optimizer states are `sharded`, the sum is made for the owner of each shard alone, and values that owners have
/// updated are fetched before they are used.
class StageExchange {
  public:
    /// `groups`, `stage` and `meter` must outlive it.
    StageExchange(RankGroups& groups, const Stage& stage, MemoryMeter& meter, bool sharded);

    /// Starts the sum of a chunk's gradients. Collective over the tensor and the data group; what tensor
    /// ranks add is added when it returns.
    comms::Work reduce_gradients(partition::ChunkId chunk);
    /// Starts the gathering of a chunk's values from the ranks that have updated them: nothing where they are as they
    /// were. Collective over the data group.
    comms::Work gather_values(partition::ChunkId chunk);
    /// The owners have updated their shards.
    void values_updated();

  private:
    RankGroups& groups_;
    const Stage& stage_;
    MemoryMeter& meter_;
    const bool sharded_;
    ShardExchange shards_;
    std::vector<bool> stale_;  // by section: whether other ranks have updated their shards of the values since
};

}  // namespace smp::runtime
