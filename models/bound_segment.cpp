#include "models/bound_segment.h"

#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace smp::models {

BoundSegment::BoundSegment(std::string name, std::vector<Parameter> parameters, SegmentContext context)
    : context_(std::move(context)), name_(std::move(name)), parameters_(std::move(parameters)) {}

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
