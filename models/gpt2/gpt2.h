// GPT-2 as a model that can be trained: its spec and its segments.
#pragma once

#include <memory>
#include <vector>

#include "models/gpt2/options.h"
#include "models/model.h"
#include "models/segment.h"

namespace smp::models {

Model gpt2(const Gpt2Options& options);

/// Its segments, as SegmentFactory says.
std::vector<std::unique_ptr<Segment>> gpt2_segments(const Gpt2Options& options, int first_module, int end_module,
                                                    const SegmentContext& context);

}  // namespace smp::models
