#include "models/gpt2/gpt2.h"

#include <stdexcept>

#include <fmt/format.h>

#include "models/gpt2/gpt2_block.h"
#include "models/gpt2/gpt2_embedding.h"
#include "models/gpt2/gpt2_head.h"
#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/gpt2_spec.h"

namespace smp::models {

Model gpt2(const Gpt2Options& options) {
    return {.spec = std::make_shared<Gpt2>(options),
            .segments = [options](int first_module, int end_module, const SegmentContext& context) {
                return gpt2_segments(options, first_module, end_module, context);
            }};
}

std::vector<std::unique_ptr<Segment>> gpt2_segments(const Gpt2Options& options, int first_module, int end_module,
                                                    const SegmentContext& context) {
    const int count = gpt2_module_count(options);
    if (first_module < 0 || end_module > count || first_module > end_module || context.tensor_group == nullptr)
        throw std::logic_error(fmt::format("modules [{}, {}) of {} over {} cannot be built", first_module, end_module,
                                           count, context.tensor_group ? "a tensor group" : "no tensor group"));
    std::vector<std::unique_ptr<Segment>> segments;
    for (int module = first_module; module < end_module; ++module) {
        if (module == 0)
            segments.push_back(std::make_unique<Embedding>(options, context));
        else if (module == count - 1)
            segments.push_back(std::make_unique<Head>(options, context));
        else
            segments.push_back(std::make_unique<Block>(options, module - 1, context));
    }
    return segments;
}

}  // namespace smp::models
