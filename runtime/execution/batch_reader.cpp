#include "runtime/execution/batch_reader.h"

#include <span>

#include <ATen/ops/empty.h>

namespace smp::runtime {

TokenNeeds token_needs(const partition::Plan& plan, const partition::Coordinate& at) {
    return {.inputs = at.stage() == plan.chunks.front().stage, .targets = at.stage() == plan.chunks.back().stage};
}

std::vector<models::Microbatch> read_microbatches(const Dataset& data, std::int64_t first_sample, const BatchCut& cut,
                                                  const TokenNeeds& needs, bool pinned) {
    std::vector<models::Microbatch> microbatches(cut.microbatches);
    const std::int64_t sequences = cut.microbatch_sequences();
    for (int i = 0; i < cut.microbatches; ++i) {
        models::Microbatch& microbatch = microbatches[i];
        microbatch.sequences = sequences;
        microbatch.length = cut.length;
        microbatch.first_sequence = cut.first_sequence(i);
        if (!needs.inputs && !needs.targets) continue;
        const auto integers = at::TensorOptions().dtype(at::kLong).pinned_memory(pinned);
        const at::Tensor inputs = at::empty({sequences, cut.length}, integers);
        const at::Tensor targets = at::empty({sequences, cut.length}, integers);
        const auto elements = [](const at::Tensor& t) {
            return std::span(t.data_ptr<std::int64_t>(), static_cast<std::size_t>(t.numel()));
        };
        data.read(first_sample + microbatch.first_sequence, sequences, elements(inputs), elements(targets));
        if (needs.inputs) microbatch.inputs = inputs;
        if (needs.targets) microbatch.targets = targets;
    }
    return microbatches;
}

}  // namespace smp::runtime
