#include "runtime/execution/batch_reader.h"

#include <span>
#include <utility>

#include <ATen/ops/empty.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {

TokenNeeds token_needs(const partition::Plan& plan, const partition::Coordinate& at) {
    return {.inputs = at.stage() == plan.chunks.front().stage, .targets = at.stage() == plan.chunks.back().stage};
}

std::vector<models::Microbatch> BatchReader::read(const Dataset& data, std::int64_t first_sample) {
    auto ahead = std::exchange(ahead_, std::nullopt);
    if (ahead && ahead->data == &data && ahead->first_sample == first_sample) return std::move(ahead->microbatches);
    return read_now(data, first_sample);
}

void BatchReader::read_ahead(const Dataset& data, std::int64_t first_sample) {
    try {
        ahead_ = {.data = &data, .first_sample = first_sample, .microbatches = read_now(data, first_sample)};
    } catch (const DataError&) {  // is said by the step that needs it
    }
}

std::vector<models::Microbatch> BatchReader::read_now(const Dataset& data, std::int64_t first_sample) const {
    std::vector<models::Microbatch> microbatches(cut_.microbatches);
    const std::int64_t sequences = cut_.microbatch_sequences();
    for (int i = 0; i < cut_.microbatches; ++i) {
        models::Microbatch& microbatch = microbatches[i];
        microbatch.sequences = sequences;
        microbatch.length = cut_.length;
        microbatch.first_sequence = cut_.first_sequence(i);
        if (!needs_.inputs && !needs_.targets) continue;
        const auto integers = at::TensorOptions().dtype(at::kLong).pinned_memory(pinned_);
        const at::Tensor inputs = at::empty({sequences, cut_.length}, integers);
        const at::Tensor targets = at::empty({sequences, cut_.length}, integers);
        const auto elements = [](const at::Tensor& t) {
            return std::span(t.data_ptr<std::int64_t>(), static_cast<std::size_t>(t.numel()));
        };
        data.read(first_sample + microbatch.first_sequence, sequences, elements(inputs), elements(targets));
        if (needs_.inputs) microbatch.inputs = inputs;
        if (needs_.targets) microbatch.targets = targets;
    }
    return microbatches;
}

}  // namespace smp::runtime
