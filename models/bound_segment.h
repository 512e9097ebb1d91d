// A segment's name, its parameters and their storage, which are alike in all families.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/segment.h"

namespace smp::models {

class BoundSegment : public Segment {
  public:
    BoundSegment(std::string name, std::vector<Parameter> parameters, SegmentContext context);

    const std::string& name() const final { return name_; }
    const std::vector<Parameter>& parameters() const final { return parameters_; }
    /// Throws std::logic_error unless there is one view a parameter, of its shape, contiguous, values in
    /// SegmentContext::storage and gradients in fp32 (or both in fp64, which oracles use).
    void bind(std::vector<ParameterView> views) final;

  protected:
    /// In the order of parameters().
    std::span<const ParameterView> views() const { return views_; }

    const SegmentContext context_;

  private:
    const std::string name_;
    const std::vector<Parameter> parameters_;
    std::vector<ParameterView> views_;
};

}  // namespace smp::models
