// What must have happened before what, over all stages: the order that data dependencies and the stages' own lists
// impose on compute steps, whatever anything costs. Lowering reads from it where a message can exist at the earliest
// and where its arrival is implied.
#pragma once

#include <vector>

#include "partition/schedule/schedule.h"
#include "partition/stages/placement.h"

namespace smp::partition {

/// Vector clocks of the compute steps of a schedule. The forward of chunk c needs
/// the forward of chunk c − 1, the backward of chunk c (its input part, where it is split) that of chunk c + 1, all of
/// the same microbatch. A weight part needs nothing but its own input part.
class Precedence {
  public:
    /// Throws std::logic_error if the orders run a step twice, on the wrong stage or out of range, or if they can never
    /// run to their end.
    Precedence(const ComputeOrders& orders, const Placement& placement, int microbatches);

    int stages() const { return static_cast<int>(clocks_.size()); }
    /// Position of a step in its stage's list; −1 if it is not there. A backward and its input part are one: either is
    /// found by both names.
    int position_of(ComputationKind kind, MicrobatchId microbatch, ChunkId chunk) const;
    /// Position of the step that completes a microbatch's weight gradients: its weight part, else its backward.
    int completed_at(MicrobatchId microbatch, ChunkId chunk) const;
    /// How many of the first steps of stage `other` have ended in every execution before step `position` of `stage`
    /// can start.
    int ended_before(StageId stage, int position, StageId other) const;

  private:
    std::size_t index_of(ComputationKind kind, MicrobatchId microbatch, ChunkId chunk) const;

    int chunks_;
    int microbatches_;
    std::vector<int> positions_;               // by kind, chunk, microbatch
    Table<StageId, std::vector<int>> clocks_;  // `stages` entries for each step
};

}  // namespace smp::partition
