#include "runtime/stage/initial_weights.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <span>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/initialise.h"
#include "models/slice.h"
#include "runtime/files/data_error.h"
#include "runtime/files/safetensors.h"

namespace smp::runtime {

namespace {

/// The tensor of a parameter, under one of its names in files; null if there is none.
const SafetensorsEntry* find(const Weights& weights, const models::ModelSpec& model, const std::string& name) {
    for (const std::string& candidate : model.names_in_files(name))
        if (const SafetensorsEntry* entry = weights.find(candidate)) return entry;
    return nullptr;
}

/// Names of the parameters whose values are those of `name`.
std::vector<std::string> tied_to(const models::ModelSpec& model, const std::string& name) {
    std::vector<std::string> names;
    for (int module = 0; module < model.module_count(); ++module)
        for (const models::Parameter& parameter : model.parameters(module, 1, 0))
            if (parameter.tied_to == name) names.push_back(parameter.name);
    return names;
}

/// The tensor of a logical parameter: its own, or that of one that is tied to it, since some files have the values of
/// tied parameters under one name only.
const SafetensorsEntry& entry_of(const Weights& weights, const models::ModelSpec& model, const std::string& name) {
    if (const SafetensorsEntry* entry = find(weights, model, name)) return *entry;
    for (const std::string& other : tied_to(model, name))
        if (const SafetensorsEntry* entry = find(weights, model, other)) return *entry;
    throw DataError(fmt::format("{} has no tensor {}; initial_weights must hold a {} of the configured shape",
                                weights.path(), fmt::join(model.names_in_files(name), " or "), model.family()));
}

void require_shape(const Weights& weights, const SafetensorsEntry& entry, const models::Parameter& parameter) {
    if (entry.shape == parameter.global_shape) return;
    throw DataError(
        fmt::format("{}: {} has shape [{}], the configured model needs [{}]; make `model` agree with the weights",
                    weights.path(), entry.name, fmt::join(entry.shape, ", "), fmt::join(parameter.global_shape, ", ")));
}

/// Where the file has a tied parameter under both names: its values must be the same, of this rank's part.
void require_tied(const Weights& weights, const models::ModelSpec& model, const models::Parameter& parameter) {
    const SafetensorsEntry* const own = find(weights, model, parameter.name);
    const SafetensorsEntry* const other = find(weights, model, parameter.tied_to);
    if (own == nullptr || other == nullptr) return;
    require_shape(weights, *own, parameter);
    require_shape(weights, *other, parameter);
    std::vector<float> a, b;
    for (const models::SliceRun& run : models::runs(parameter.slice)) {
        constexpr std::int64_t kPiece = 1 << 20;
        for (std::int64_t first = 0; first < run.count; first += kPiece) {
            const auto count = static_cast<std::size_t>(std::min(kPiece, run.count - first));
            a.resize(count);
            b.resize(count);
            weights.read_float(*own, run.global + first, a);
            weights.read_float(*other, run.global + first, b);
            if (std::memcmp(a.data(), b.data(), count * sizeof(float)) == 0) continue;
            throw DataError(
                fmt::format("{}: {} differs from {}, and the configured model has one tensor for both; set "
                            "model.tie_word_embeddings = false",
                            weights.path(), own->name, other->name));
        }
    }
}

/// "a, b, c and 4 more".
std::string shortened(const std::vector<std::string>& names) {
    constexpr std::size_t kShown = 3;
    if (names.size() <= kShown) return fmt::format("{}", fmt::join(names, ", "));
    return fmt::format("{} and {} more", fmt::join(names.begin(), names.begin() + kShown, ", "), names.size() - kShown);
}

/// Refuses tensors that the file's model computes with and this one has no place for; a sentence about the others.
std::vector<std::string> check_strays(const Weights& weights, const models::ModelSpec& model) {
    std::set<std::string> known;
    for (int module = 0; module < model.module_count(); ++module)
        for (const models::Parameter& parameter : model.parameters(module, 1, 0))
            for (const std::string& name : model.names_in_files(parameter.name)) known.insert(name);
    std::vector<std::string> parts, apart;
    for (const auto& [name, entry] : weights.entries()) {
        if (known.contains(name)) continue;
        const models::StrayTensor meaning = model.meaning_of(name);
        if (meaning == models::StrayTensor::part) parts.push_back(name);
        if (meaning == models::StrayTensor::apart) apart.push_back(name);
    }
    if (!parts.empty())
        throw DataError(
            fmt::format("{}: the configured model has no place for {}, without which it computes something else; make "
                        "`model` agree "
                        "with the weights",
                        weights.path(), shortened(parts)));
    if (apart.empty()) return {};
    return {
        fmt::format("{}: nothing is made of {}, which the model has no place for", weights.path(), shortened(apart))};
}

/// Refuses what the config.json beside the weights says against the model.
void check_description(const std::filesystem::path& weights, const models::ModelSpec& model) {
    const auto folder = std::filesystem::is_directory(weights) ? weights : weights.parent_path();
    std::ifstream file(folder / "config.json", std::ios::binary);
    if (!file) return;
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (const auto sentences = model.disagreements(text); !sentences.empty())
        throw DataError(fmt::format("\"{}\", which describes training.initial_weights: {}; make `model` agree with it",
                                    (folder / "config.json").string(), fmt::join(sentences, "; ")));
}

/// This rank's part of a parameter, into fp32 `values`.
void load(const Weights& weights, const models::ModelSpec& model, const models::Parameter& parameter,
          const at::Tensor& values) {
    const SafetensorsEntry& entry =
        entry_of(weights, model, parameter.tied_to.empty() ? parameter.name : parameter.tied_to);
    require_shape(weights, entry, parameter);
    models::read_slice(
        parameter.slice, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())},
        [&](std::int64_t first, std::span<float> destination) { weights.read_float(entry, first, destination); });
}

}  // namespace

std::vector<std::string> set_initial_weights(Stage& stage, const models::ModelSpec& model,
                                             const TrainingOptions& training,
                                             const std::function<void(int parameter, const at::Tensor& values)>& take) {
    std::optional<Weights> weights;
    std::vector<std::string> warnings;
    if (!training.initial_weights.empty()) {
        weights.emplace(open_weights(training.initial_weights));
        check_description(training.initial_weights, model);
        warnings = check_strays(*weights, model);
    }
    for (int i = 0; i < static_cast<int>(stage.parameters().size()); ++i) {
        const models::Parameter& parameter = stage.parameters()[i];
        if (weights && !parameter.tied_to.empty()) require_tied(*weights, model, parameter);
        if (stage.layout().partner[i] >= 0) continue;
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
    return warnings;
}

}  // namespace smp::runtime
