// A model as a job carries it: what it is, and how its segments are made. No LibTorch is seen from here.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "models/model_spec.h"

namespace smp::models {

class Segment;
struct SegmentContext;

/// Segments of modules [first_module, end_module), one each, in order, with the names and parameters that the spec
/// gives them. They hold no storage until bound; the context's tensor group must outlive them. Local. Throws
/// std::logic_error for modules that there are not, and for a context without a tensor group.
using SegmentFactory = std::function<std::vector<std::unique_ptr<Segment>>(int first_module, int end_module,
                                                                           const SegmentContext& context)>;

struct Model {
    std::shared_ptr<const ModelSpec> spec;
    SegmentFactory segments;  // empty where a plan is all that is wanted
};

}  // namespace smp::models
