// What all of GPT-2's segments have: a name, parameters with their storage, their share of the tensor group.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/options.h"
#include "models/kernels/dropout_key.h"
#include "models/segment.h"

namespace smp::models {

/// Sum over the tensor group, in place, blocking. Nothing in a group of one.
void sum_over_tensor_group(const SegmentContext& context, const at::Tensor& tensor);

// Rows of the microbatch (N = b·T), where every tensor rank would hold the same: with Optimize::memory and several
// ranks, each holds N' = N / ranks of them, in rank order (segment.h). Otherwise N' = N, "own" rows are all rows, and
// nothing is gathered. Sums are in rank order either way, so each element has the same bits in both.

/// The first row of the microbatch that is this rank's own. Throws std::logic_error where N does not divide. Local.
std::int64_t first_own_row(const SegmentContext& context, const Microbatch& microbatch);
/// own rows [N', h] of each rank → all rows [N, h]; `own` itself where it has them all. Collective, blocking.
at::Tensor gather_rows(const SegmentContext& context, const at::Tensor& own);
/// partial sums [N, h] → own rows [N', h] of their sum over the tensor group: `partial` itself where those are all,
/// else a tensor of its own. Collective, blocking.
at::Tensor sum_to_own_rows(const SegmentContext& context, const at::Tensor& partial);

/// Key of the dropout at one site of a microbatch; probability 0 outside of training.
kernels::DropoutKey dropout_key(const Microbatch& microbatch, double probability, int layer, kernels::DropoutSite site);
/// The same for a tensor of own rows [N', h].
kernels::DropoutKey own_rows_dropout_key(const SegmentContext& context, const Microbatch& microbatch,
                                         double probability, int layer, kernels::DropoutSite site);

class BoundSegment : public Segment {
  public:
    /// Module `module` of gpt2_parameters.
    BoundSegment(const ModelOptions& options, int module, SegmentContext context);

    const std::string& name() const final { return name_; }
    const std::vector<Parameter>& parameters() const final { return parameters_; }
    /// Throws std::logic_error unless there is one view a parameter, of its shape, contiguous, values in
    /// SegmentContext::storage and gradients in fp32 (or both in fp64, which oracles use).
    void bind(std::vector<ParameterView> views) final;

  protected:
    /// In the order of parameters().
    std::span<const ParameterView> views() const { return views_; }

    const ModelOptions options_;
    const SegmentContext context_;
    const Gpt2Shard shard_;

  private:
    const std::string name_;
    const std::vector<Parameter> parameters_;
    std::vector<ParameterView> views_;
};

}  // namespace smp::models
