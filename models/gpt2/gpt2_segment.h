// What all of GPT-2's segments have: its options, and their share of the tensor group.
#pragma once

#include "models/bound_segment.h"
#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/options.h"
#include "models/kernels/dropout_key.h"
#include "models/tensor_rows.h"

namespace smp::models {

/// Key of the dropout at one site of a microbatch; probability 0 outside of training.
kernels::DropoutKey dropout_key(const Microbatch& microbatch, double probability, int layer, kernels::DropoutSite site);
/// The same for a tensor of own rows [N', h].
kernels::DropoutKey own_rows_dropout_key(const SegmentContext& context, const Microbatch& microbatch,
                                         double probability, int layer, kernels::DropoutSite site);

class Gpt2Segment : public BoundSegment {
  public:
    /// Module `module` of gpt2_parameters.
    Gpt2Segment(const Gpt2Options& options, int module, SegmentContext context);

  protected:
    const Gpt2Options options_;
    const Gpt2Shard shard_;
};

}  // namespace smp::models
