// What all of GPT-2's segments have: a name, parameters with their storage, their share of the tensor group.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/gpt2_parameters.h"
#include "models/kernels/dropout_key.h"
#include "models/options.h"
#include "models/segment.h"

namespace smp::models {

/// Sum over the tensor group, in place, blocking. Nothing in a group of one.
void sum_over_tensor_group(const SegmentContext& context, const at::Tensor& tensor);

/// Key of the dropout at one site of a microbatch; probability 0 outside of training.
kernels::DropoutKey dropout_key(const Microbatch& microbatch, double probability, int layer, kernels::DropoutSite site);

class BoundSegment : public Segment {
  public:
    /// Module `module` of gpt2_parameters.
    BoundSegment(const ModelOptions& options, int module, SegmentContext context);

    const std::string& name() const final { return name_; }
    const std::vector<Parameter>& parameters() const final { return parameters_; }
    /// Throws std::logic_error unless there is one view a parameter, of its shape, contiguous, gradients in fp32 (in
    /// fp64 for values in fp64, which oracles use).
    void bind(std::vector<ParameterView> views) final;
    std::vector<StashEntry> stash_entries(std::int64_t sequences, std::int64_t length) const final;
    std::vector<StashEntry> deferred_entries(std::int64_t sequences, std::int64_t length) const final;

  protected:
    /// In the order of parameters().
    std::span<const ParameterView> views() const { return views_; }

    const ModelOptions options_;
    const SegmentContext context_;
    const Gpt2Shard shard_;

  private:
    const int module_;
    const std::string name_;
    const std::vector<Parameter> parameters_;
    std::vector<ParameterView> views_;
};

}  // namespace smp::models
