#include "runtime/stage/initial_weights.h"

#include <optional>
#include <span>
#include <string>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/initialise.h"
#include "models/slice.h"
#include "runtime/files/data_error.h"
#include "runtime/files/safetensors.h"

namespace smp::runtime {

namespace {

/// The tensor of a parameter, under one of its names in files.
const SafetensorsEntry& entry_of(const Weights& weights, const models::ModelSpec& model, const std::string& name) {
    const std::vector<std::string> candidates = model.names_in_files(name);
    for (const std::string& candidate : candidates)
        if (const SafetensorsEntry* entry = weights.find(candidate)) return *entry;
    throw DataError(fmt::format("{} has no tensor {}; initial_weights must hold a {} of the configured shape",
                                weights.path(), fmt::join(candidates, " or "), model.family()));
}

/// This rank's part of a parameter, into fp32 `values`.
void load(const Weights& weights, const models::ModelSpec& model, const models::Parameter& parameter,
          const at::Tensor& values) {
    const std::string& name = parameter.tied_to.empty() ? parameter.name : parameter.tied_to;
    const SafetensorsEntry& entry = entry_of(weights, model, name);
    if (entry.shape != parameter.global_shape)
        throw DataError(fmt::format(
            "{}: {} has shape [{}], the configured model needs [{}]; make `model` agree with the weights",
            weights.path(), entry.name, fmt::join(entry.shape, ", "), fmt::join(parameter.global_shape, ", ")));
    models::read_slice(
        parameter.slice, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())},
        [&](std::int64_t first, std::span<float> destination) { weights.read_float(entry, first, destination); });
}

}  // namespace

void set_initial_weights(Stage& stage, const models::ModelSpec& model, const TrainingOptions& training,
                         const std::function<void(int parameter, const at::Tensor& values)>& take) {
    std::optional<Weights> weights;
    if (!training.initial_weights.empty()) weights.emplace(open_weights(training.initial_weights));
    for (int i = 0; i < static_cast<int>(stage.parameters().size()); ++i) {
        if (stage.layout().partner[i] >= 0) continue;
        const models::Parameter& parameter = stage.parameters()[i];
        const at::Tensor& value = stage.value(i);
        const bool is_rounded = value.scalar_type() != at::kFloat;
        const at::Tensor exact = is_rounded ? at::zeros(value.sizes(), value.options().dtype(at::kFloat)) : value;
        if (weights)
            load(*weights, model, parameter, exact);
        else
            models::initialise(exact, parameter, training.seed);
        if (!is_rounded) continue;
        value.copy_(exact);
        if (take) take(i, exact);
    }
}

}  // namespace smp::runtime
