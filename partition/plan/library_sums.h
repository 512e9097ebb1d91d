// Plans of ranks that exchange messages and whose sums of gradients the library below makes (NCCL's own), with nothing
// of a rank's memory beside the tensors.
#pragma once

#include "partition/plan/plan.h"

namespace smp::partition {

/// As make_plan() with Transport::messages, but for scratch: reductions of gradients have none, and sums of rows none
/// beside the tensor that they are put together in.
Plan make_plan_for_library_sums(const ModuleGraph& graph, const ParallelOptions& options, const Degrees& degrees,
                                int evaluation_microbatches, const CostsOfChunks& measured = {});

/// Whether a reduction has scratch.
bool has_reduction_scratch(const Plan& plan);

}  // namespace smp::partition
