#include "runtime/stage/stage.h"

#include <stdexcept>

#include <fmt/format.h>

#include "models/kernels/kernels.h"

namespace smp::runtime {

Stage::Stage(const models::Model& model, const partition::Plan& plan, RankGroups& groups, MemoryMeter& meter,
             const partition::ParallelOptions& parallel, at::Device device)
    : hidden_width_(model.spec->width()),
      tensor_degree_(groups.tensor->size()),
      optimize_(parallel.optimize),
      precision_(partition::precision_of(parallel)),
      layout_(stage_layout(plan, *model.spec, precision_, groups.at)) {
    const models::ActivationStorage storage =
        models::storage_of(parallel, device.is_cuda() ? partition::Device::cuda : partition::Device::cpu);
    const models::SegmentContext context{
        .tensor_group = groups.tensor.get(),
        .progress = [&groups] { groups.progress(); },
        .making_logits =
            [&meter] { return std::make_shared<MemoryMeter::Scope>(meter, partition::MemoryCategory::logits); },
        .tensor_parallel_seed = parallel.tensor_parallel_seed,
        .storage = storage};
    for (const partition::ChunkId index : plan.chunks.ids()) {
        const partition::Chunk& chunk = plan.chunks[index];
        if (chunk.stage != groups.at.stage()) continue;
        chunks_.push_back({.index = index, .segments = model.segments(chunk.first_module, chunk.end_module, context)});
    }

    const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
    {
        const MemoryMeter::Scope scope(meter, partition::MemoryCategory::parameters);
        flat_values_ =
            models::kernels::zeros({layout().elements}, options.dtype(models::value_type(storage.precision)));
    }
    const MemoryMeter::Scope scope(meter, partition::MemoryCategory::gradients);
    flat_gradients_ = models::kernels::zeros({layout().elements}, options);

    for (int i = 0; i < static_cast<int>(layout_.parameters.size()); ++i) {
        const models::Parameter& parameter = layout_.parameters[i];
        const Range place = layout().places[i];
        const bool own_place = layout().partner[i] < 0;
        const auto view = [&](const at::Tensor& flat) {
            return flat.narrow(0, place.begin, place.size()).view(parameter.local_shape);
        };
        views_.push_back(
            {.value = view(flat_values_),
             .gradient = own_place ? view(flat_gradients_) : models::kernels::zeros(parameter.local_shape, options)});
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

int Stage::section(partition::ChunkId chunk) const {
    for (int i = 0; i < static_cast<int>(chunks_.size()); ++i)
        if (chunks_[i].index == chunk) return i;
    throw std::logic_error(fmt::format("chunk {} is not on this rank", chunk));
}

int Stage::find(const std::string& name) const {
    for (int i = 0; i < static_cast<int>(layout_.parameters.size()); ++i)
        if (layout_.parameters[i].name == name) return i;
    return -1;
}

int Stage::copy_of(const std::string& shared, int module) const {
    for (int i = 0; i < static_cast<int>(layout_.parameters.size()); ++i)
        if (layout_.modules[i] == module &&
            (layout_.parameters[i].name == shared || layout_.parameters[i].tied_to == shared))
            return i;
    throw std::logic_error(fmt::format("no parameter of module {} on this rank is or is tied to {}", module, shared));
}

int Stage::holder_of(const std::string& shared) const {
    for (int i = 0; i < static_cast<int>(layout_.parameters.size()); ++i)
        if (layout_.parameters[i].name == shared || layout_.parameters[i].tied_to == shared) return i;
    throw std::logic_error(fmt::format("no parameter on this rank is or is tied to {}", shared));
}

std::int64_t Stage::boundary_rows(std::int64_t sequences, std::int64_t length) const {
    const models::MicrobatchShare share{
        .tensor_degree = tensor_degree_, .sequences = sequences, .length = length, .storage = {.optimize = optimize_}};
    return share.boundary_rows();
}

std::vector<at::Tensor> Stage::row_gradients(partition::ChunkId chunk) const {
    std::vector<at::Tensor> gradients;
    if (optimize_ == partition::Optimize::speed || tensor_degree_ == 1) return gradients;
    const Range& indices = layout_.section_parameters[section(chunk)];
    for (auto i = static_cast<int>(indices.begin); i < indices.end; ++i)
        if (layout_.parameters[i].follows_rows) gradients.push_back(views_[i].gradient);
    return gradients;
}

void Stage::zero_gradients() {
    models::kernels::clear(flat_gradients_);
    for (int i = 0; i < static_cast<int>(layout_.parameters.size()); ++i)
        if (layout().partner[i] >= 0) models::kernels::clear(views_[i].gradient);
}

}  // namespace smp::runtime
