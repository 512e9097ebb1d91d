// Gradients over the data-parallel ranks, chunk by chunk, beside what still computes.
#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "runtime/flat_layout.h"

namespace smp::runtime {

/// Sums `gradients` [layout.elements] over a group, a section at a time. Each rank adds its pieces of the buckets in
/// rank order (reduce-scatter); the pieces are then gathered, so that every rank can update everything. A bounded
/// number of buckets is in flight, for all sections together: their collectives begin in one order, which is the same
/// on every rank however differently they advance.
class GradientReduction {
  public:
    /// `group` and `layout` must outlive it.
    GradientReduction(comms::Communicator& group, const FlatLayout& layout, at::Tensor gradients);
    ~GradientReduction();
    GradientReduction(const GradientReduction&) = delete;
    GradientReduction& operator=(const GradientReduction&) = delete;

    /// Asynchronous, moved on by progress(). Once complete, the section's gradients are the sum on every rank; its
    /// memory must stay untouched until then. Collective: sections in the same order on all ranks, and nothing else on
    /// the group before all that was begun is complete. A group of one does nothing.
    comms::Work begin(int section);

  private:
    class Queue;
    class SectionOperation;

    comms::Communicator& group_;
    const FlatLayout& layout_;
    at::Tensor gradients_;
    std::shared_ptr<Queue> queue_;
};

}  // namespace smp::runtime
