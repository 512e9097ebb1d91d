#include "runtime/stage.h"

#include <stdexcept>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "models/gpt2.h"

namespace smp::runtime {

namespace {

constexpr std::int64_t kBucketElements = 4
                                         << 20;  // 16 MiB of fp32: long enough to fill a link, short enough to overlap

}  // namespace

Stage::Stage(const models::ModelOptions& model, const partition::Plan& plan, RankGroups& groups,
             std::uint64_t tensor_parallel_seed, at::Device device)
    : hidden_width_(model.n_embd) {
    const models::SegmentContext context{.tensor_group = groups.tensor.get(),
                                         .progress = [&groups] { groups.progress(); },
                                         .tensor_parallel_seed = tensor_parallel_seed};
    for (int index = 0; index < static_cast<int>(plan.chunks.size()); ++index) {
        const partition::Chunk& chunk = plan.chunks[index];
        if (chunk.stage != groups.at.pp) continue;
        chunks_.push_back(
            {.index = index, .segments = models::gpt2_segments(model, chunk.first_module, chunk.end_module, context)});
        for (const auto& segment : chunks_.back().segments)
            parameters_.insert(parameters_.end(), segment->parameters().begin(), segment->parameters().end());
    }

    layout_ = lay_out(parameters_, plan.topology.degrees.rdp, kBucketElements);
    const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
    flat_values_ = at::zeros({layout_.elements}, options);
    flat_gradients_ = at::zeros({layout_.elements}, options);

    for (int i = 0; i < static_cast<int>(parameters_.size()); ++i) {
        const models::Parameter& parameter = parameters_[i];
        const Range place = layout_.places[i];
        const bool own_place = layout_.partner[i] < 0;
        const auto view = [&](const at::Tensor& flat) {
            return flat.narrow(0, place.begin, place.size()).view(parameter.local_shape);
        };
        views_.push_back({.value = view(flat_values_),
                          .gradient = own_place ? view(flat_gradients_) : at::zeros(parameter.local_shape, options)});
        if (own_place && parameter.tied_to.empty() && (parameter.sharded || groups.at.tp == 0))
            counted_.push_back(place);
    }

    int next = 0;
    for (const LocalChunk& chunk : chunks_) {
        for (const auto& segment : chunk.segments) {
            const auto count = static_cast<int>(segment->parameters().size());
            segment->bind({views_.begin() + next, views_.begin() + next + count});
            next += count;
        }
    }
}

const Stage::LocalChunk& Stage::chunk(int index) const {
    for (const LocalChunk& chunk : chunks_)
        if (chunk.index == index) return chunk;
    throw std::logic_error(fmt::format("chunk {} is not on this rank", index));
}

int Stage::find(const std::string& name) const {
    for (int i = 0; i < static_cast<int>(parameters_.size()); ++i)
        if (parameters_[i].name == name) return i;
    return -1;
}

int Stage::holder_of(const std::string& shared) const {
    if (const int own = find(shared); own >= 0) return own;
    for (int i = 0; i < static_cast<int>(parameters_.size()); ++i)
        if (parameters_[i].tied_to == shared) return i;
    throw std::logic_error(fmt::format("no parameter on this rank is or is tied to {}", shared));
}

void Stage::zero_gradients() {
    flat_gradients_.zero_();
    for (int i = 0; i < static_cast<int>(parameters_.size()); ++i)
        if (layout_.partner[i] >= 0) views_[i].gradient.zero_();
}

void Stage::sum_local_tied_gradients() {
    for (int i = 0; i < static_cast<int>(parameters_.size()); ++i)
        if (const int partner = layout_.partner[i]; partner >= 0) views_[partner].gradient.add_(views_[i].gradient);
}

}  // namespace smp::runtime
