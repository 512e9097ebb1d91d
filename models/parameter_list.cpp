#include "models/parameter_list.h"

#include <functional>
#include <numeric>

namespace smp::models {

Parameter& ParameterList::whole(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start) {
    Parameter& parameter = add(name, shape, start);
    parameter.local_shape = shape;
    parameter.slice = models::whole(std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>()));
    return parameter;
}

Parameter& ParameterList::by_rows(const std::string& name, const std::vector<std::int64_t>& shape,
                                  Initialisation start) {
    return cut(name, shape, start, 0, 1);
}

Parameter& ParameterList::by_columns(const std::string& name, const std::vector<std::int64_t>& shape,
                                     Initialisation start, std::int64_t parts) {
    return cut(name, shape, start, shape.size() - 1, parts);
}

Parameter& ParameterList::add(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start) {
    Parameter& parameter = parameters_.emplace_back();
    parameter.name = prefix_ + name;
    parameter.global_shape = shape;
    parameter.initialisation = start;
    parameter.decays = shape.size() >= 2;
    return parameter;
}

Parameter& ParameterList::cut(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start,
                              std::size_t dimension, std::int64_t parts) {
    Parameter& parameter = add(name, shape, start);
    Slice& slice = parameter.slice;
    slice = {.parts = parts, .extent = shape[dimension] / parts};
    for (std::size_t i = 0; i < dimension; ++i) slice.outer *= shape[i];
    for (std::size_t i = dimension + 1; i < shape.size(); ++i) slice.inner *= shape[i];
    const std::int64_t width = rounded_up_part(slice.extent, degree_);
    slice.begin = rank_ * width;
    slice.end = slice.begin + width;
    parameter.local_shape = shape;
    parameter.local_shape[dimension] = parts * width;
    parameter.sharded = degree_ > 1;
    return parameter;
}

}  // namespace smp::models
