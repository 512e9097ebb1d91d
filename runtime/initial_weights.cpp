#include "runtime/initial_weights.h"

#include <span>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/initialise.h"
#include "models/slice.h"
#include "runtime/data_error.h"
#include "runtime/safetensors.h"

namespace smp::runtime {

namespace {

/// The tensor of a parameter, under either of the names that Hugging Face writes.
const SafetensorsEntry& entry_of(const Weights& weights, const std::string& name) {
    for (const std::string& candidate : {"transformer." + name, name})
        if (const SafetensorsEntry* entry = weights.find(candidate)) return *entry;
    throw DataError(fmt::format(
        "{} has no tensor {} (nor transformer.{}); initial_weights must hold a GPT-2 of the configured shape",
        weights.path(), name, name));
}

void load(Stage& stage, const std::string& path) {
    const Weights weights = open_weights(path);
    for (int i = 0; i < static_cast<int>(stage.parameters().size()); ++i) {
        if (stage.layout().partner[i] >= 0) continue;
        const models::Parameter& parameter = stage.parameters()[i];
        const std::string& name = parameter.tied_to.empty() ? parameter.name : parameter.tied_to;
        const SafetensorsEntry& entry = entry_of(weights, name);
        if (entry.shape != parameter.global_shape)
            throw DataError(fmt::format(
                "{}: {} has shape [{}], the configured model needs [{}]; make `model` agree with the weights",
                weights.path(), entry.name, fmt::join(entry.shape, ", "), fmt::join(parameter.global_shape, ", ")));
        const at::Tensor& value = stage.value(i);
        models::read_slice(
            parameter.slice, {value.data_ptr<float>(), static_cast<std::size_t>(value.numel())},
            [&](std::int64_t first, std::span<float> destination) { weights.read_float(entry, first, destination); });
    }
}

void draw(Stage& stage, std::uint64_t seed) {
    for (int i = 0; i < static_cast<int>(stage.parameters().size()); ++i)
        if (stage.layout().partner[i] < 0) models::initialise(stage.value(i), stage.parameters()[i], seed);
}

}  // namespace

void set_initial_weights(Stage& stage, const TrainingOptions& training) {
    if (training.initial_weights.empty())
        draw(stage, training.seed);
    else
        load(stage, training.initial_weights);
}

}  // namespace smp::runtime
