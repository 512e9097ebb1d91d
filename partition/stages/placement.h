// Which stage holds which chunk of the model. Everything that has to know asks here.
#pragma once

#include <vector>

#include "partition/job/ids.h"

namespace smp::partition {

class Placement {
  public:
    Placement() = default;
    /// `stage_of` has an entry a chunk, each below `stages`; std::logic_error otherwise.
    Placement(int stages, Table<ChunkId, StageId> stage_of);

    int stages() const { return static_cast<int>(chunks_of_.size()); }
    int chunks() const { return static_cast<int>(stage_of_.size()); }
    IdRange<ChunkId> all_chunks() const { return stage_of_.ids(); }
    bool has(ChunkId chunk) const { return stage_of_.has(chunk); }
    ChunkId last_chunk() const { return stage_of_.last_id(); }

    StageId stage_of(ChunkId chunk) const { return stage_of_[chunk]; }
    bool is_on(StageId stage, ChunkId chunk) const { return has(chunk) && stage_of(chunk) == stage; }
    /// In ascending order.
    const std::vector<ChunkId>& chunks_of(StageId stage) const { return chunks_of_[stage]; }
    /// Where a chunk stands among those of its stage.
    int own_index(ChunkId chunk) const { return own_index_[chunk]; }

    bool operator==(const Placement&) const = default;

  private:
    Table<ChunkId, StageId> stage_of_;
    Table<ChunkId, int> own_index_;
    Table<StageId, std::vector<ChunkId>> chunks_of_;
};

/// Dealt out in turn: chunk c lives on stage c mod stages.
Placement in_turn(int stages, int chunks_per_stage = 1);

}  // namespace smp::partition
