#include "models/gpt2/bound_segment.h"

#include <stdexcept>
#include <utility>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "comms/communicator.h"

namespace smp::models {

void sum_over_tensor_group(const SegmentContext& context, const at::Tensor& tensor) {
    if (context.tensor_group->size() > 1) comms::all_reduce(*context.tensor_group, tensor).wait();
}

namespace {

bool shards_rows(const SegmentContext& context) {
    return context.storage.optimize == partition::Optimize::memory && context.tensor_group->size() > 1;
}

}  // namespace

std::int64_t first_own_row(const SegmentContext& context, const Microbatch& microbatch) {
    if (!shards_rows(context)) return 0;
    const std::int64_t rows = microbatch.sequences * microbatch.length, ranks = context.tensor_group->size();
    if (rows % ranks != 0)
        throw std::logic_error(fmt::format("{} sequences of {} tokens cannot be cut over {} tensor ranks",
                                           microbatch.sequences, microbatch.length, ranks));
    return context.tensor_group->rank() * (rows / ranks);
}

at::Tensor gather_rows(const SegmentContext& context, const at::Tensor& own) {
    if (!shards_rows(context)) return own;
    at::Tensor all = at::empty({context.tensor_group->size() * own.size(0), own.size(1)}, own.options());
    context.tensor_group->all_gather(all, own).wait();
    return all;
}

at::Tensor sum_to_own_rows(const SegmentContext& context, const at::Tensor& partial) {
    if (!shards_rows(context)) {
        sum_over_tensor_group(context, partial);
        return partial;
    }
    at::Tensor own = at::empty({partial.size(0) / context.tensor_group->size(), partial.size(1)}, partial.options());
    comms::reduce_scatter(*context.tensor_group, own, partial).wait();
    return own;
}

kernels::DropoutKey dropout_key(const Microbatch& microbatch, double probability, int layer,
                                kernels::DropoutSite site) {
    return {.probability = microbatch.training ? probability : 0.0,
            .seed = microbatch.seed,
            .step = microbatch.step,
            .first_sequence = microbatch.first_sequence,
            .length = microbatch.length,
            .layer = static_cast<std::uint32_t>(layer),
            .site = site};
}

kernels::DropoutKey own_rows_dropout_key(const SegmentContext& context, const Microbatch& microbatch,
                                         double probability, int layer, kernels::DropoutSite site) {
    kernels::DropoutKey key = dropout_key(microbatch, probability, layer, site);
    key.first_row = first_own_row(context, microbatch);
    return key;
}

BoundSegment::BoundSegment(const ModelOptions& options, int module, SegmentContext context)
    : options_(options),
      context_(std::move(context)),
      shard_(gpt2_shard(options, context_.tensor_group->size(), context_.tensor_group->rank())),
      name_(gpt2_module_name(options, module)),
      parameters_(
          gpt2_module_parameters(options, module, context_.tensor_group->size(), context_.tensor_group->rank())) {}

void BoundSegment::bind(std::vector<ParameterView> views) {
    if (views.size() != parameters_.size())
        throw std::logic_error(
            fmt::format("{} has {} parameters but is bound to {} views", name_, parameters_.size(), views.size()));
    for (std::size_t i = 0; i < views.size(); ++i) {
        const ParameterView& view = views[i];
        const at::IntArrayRef shape(parameters_[i].local_shape);
        const at::ScalarType type = view.value.scalar_type();
        const at::ScalarType gradient_type = type == at::kDouble ? at::kDouble : at::kFloat;
        if (view.value.sizes() != shape || view.gradient.sizes() != shape || !view.value.is_contiguous() ||
            !view.gradient.is_contiguous() || view.gradient.scalar_type() != gradient_type ||
            (type != at::kDouble && type != value_type(context_.storage.precision)))
            throw std::logic_error(
                fmt::format("{} is bound to views of another shape, layout or type", parameters_[i].name));
    }
    views_ = std::move(views);
}

}  // namespace smp::models
