// GPT-2 as segments: what a chunk of the pipeline is made of.
#pragma once

#include <memory>
#include <vector>

#include "models/gpt2/gpt2_head.h"
#include "models/gpt2/options.h"
#include "models/segment.h"

namespace smp::models {

/// Modules [first_module, end_module) of gpt2_parameters, one segment each, in order, with the names and parameters
/// that it gives. They hold no storage until bound. context.tensor_group must outlive them. Local.
std::vector<std::unique_ptr<Segment>> gpt2_segments(const ModelOptions& options, int first_module, int end_module,
                                                    const SegmentContext& context);

}  // namespace smp::models
