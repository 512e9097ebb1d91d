// Rows of a microbatch over a tensor group: who holds which, and the collectives between the two ways of holding them.
//
// N = b·T rows, of which every tensor rank would hold the same. With Optimize::memory and several ranks, each holds
// N' = N / ranks of them, in rank order (segment.h). Otherwise N' = N, "own" rows are all rows, and nothing is
// gathered. Sums are in rank order either way, so each element has the same bits in both.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "models/segment.h"

namespace smp::models {

/// Sum over the tensor group, in place, blocking. Nothing in a group of one.
void sum_over_tensor_group(const SegmentContext& context, const at::Tensor& tensor);

/// The first row of the microbatch that is this rank's own. Throws std::logic_error where N does not divide. Local.
std::int64_t first_own_row(const SegmentContext& context, const Microbatch& microbatch);
/// own rows [N', h] of each rank → all rows [N, h]; `own` itself where it has them all. Collective, blocking.
at::Tensor gather_rows(const SegmentContext& context, const at::Tensor& own);
/// partial sums [N, h] → own rows [N', h] of their sum over the tensor group: `partial` itself where those are all,
/// else a tensor of its own. Collective, blocking.
at::Tensor sum_to_own_rows(const SegmentContext& context, const at::Tensor& partial);

}  // namespace smp::models
