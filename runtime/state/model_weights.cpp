#include "runtime/state/model_weights.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/slice.h"
#include "runtime/files/data_error.h"
#include "runtime/files/text_file.h"

namespace smp::runtime {

namespace {

/// Names of the parameters whose values are those of `name`.
std::vector<std::string> tied_to(const models::ModelSpec& model, const std::string& name) {
    std::vector<std::string> names;
    for (int module = 0; module < model.module_count(); ++module)
        for (const models::Parameter& parameter : model.parameters(module, 1, 0))
            if (parameter.tied_to == name) names.push_back(parameter.name);
    return names;
}

/// "a, b, c and 4 more".
std::string shortened(const std::vector<std::string>& names) {
    constexpr std::size_t kShown = 3;
    if (names.size() <= kShown) return fmt::format("{}", fmt::join(names, ", "));
    return fmt::format("{} and {} more", fmt::join(names.begin(), names.begin() + kShown, ", "), names.size() - kShown);
}

}  // namespace

ModelWeights::ModelWeights(const std::filesystem::path& path, const models::ModelSpec& model, std::string described_by)
    : weights_(open_weights(path)), model_(model), described_by_(std::move(described_by)) {
    check_description(path);
    warnings_ = check_strays();
}

/// Under one of the parameter's names in files; null if there is none.
const SafetensorsEntry* ModelWeights::find(const std::string& parameter) const {
    for (const std::string& candidate : model_.names_in_files(parameter))
        if (const SafetensorsEntry* entry = weights_.find(candidate)) return entry;
    return nullptr;
}

const SafetensorsEntry& ModelWeights::entry_of(const models::Parameter& parameter) const {
    const std::string& name = parameter.tied_to.empty() ? parameter.name : parameter.tied_to;
    if (const SafetensorsEntry* entry = find(name)) return *entry;
    for (const std::string& other : tied_to(model_, name))
        if (const SafetensorsEntry* entry = find(other)) return *entry;
    throw DataError(fmt::format("{} has no tensor {}; it must hold a {} of the shape that {} describes",
                                weights_.path(), fmt::join(model_.names_in_files(name), " or "), model_.family(),
                                described_by_));
}

void ModelWeights::require_shape(const SafetensorsEntry& entry, const models::Parameter& parameter) const {
    if (entry.shape == parameter.global_shape) return;
    throw DataError(fmt::format(
        "{}: {} has shape [{}], the configured model needs [{}]; make {} agree with the weights", weights_.path(),
        entry.name, fmt::join(entry.shape, ", "), fmt::join(parameter.global_shape, ", "), described_by_));
}

void ModelWeights::read(const models::Parameter& parameter, std::int64_t first, std::span<float> values) const {
    const SafetensorsEntry& entry = entry_of(parameter);
    require_shape(entry, parameter);
    weights_.read_float(entry, first, values);
}

void ModelWeights::require_tied(const models::Parameter& parameter) const {
    const SafetensorsEntry* const own = find(parameter.name);
    const SafetensorsEntry* const other = find(parameter.tied_to);
    if (own == nullptr || other == nullptr) return;
    require_shape(*own, parameter);
    require_shape(*other, parameter);
    std::vector<float> a, b;
    for (const models::SliceRun& run : models::runs(parameter.slice)) {
        constexpr std::int64_t kPiece = 1 << 20;
        for (std::int64_t first = 0; first < run.count; first += kPiece) {
            const auto count = static_cast<std::size_t>(std::min(kPiece, run.count - first));
            a.resize(count);
            b.resize(count);
            weights_.read_float(*own, run.global + first, a);
            weights_.read_float(*other, run.global + first, b);
            if (std::memcmp(a.data(), b.data(), count * sizeof(float)) == 0) continue;
            throw DataError(
                fmt::format("{}: {} differs from {}, and the configured model has one tensor for both; set "
                            "model.tie_word_embeddings = false",
                            weights_.path(), own->name, other->name));
        }
    }
}

std::vector<std::string> ModelWeights::check_strays() const {
    std::set<std::string> known;
    for (int module = 0; module < model_.module_count(); ++module)
        for (const models::Parameter& parameter : model_.parameters(module, 1, 0))
            for (const std::string& name : model_.names_in_files(parameter.name)) known.insert(name);
    std::vector<std::string> parts, apart;
    for (const auto& [name, entry] : weights_.entries()) {
        if (known.contains(name)) continue;
        const models::StrayTensor meaning = model_.meaning_of(name);
        if (meaning == models::StrayTensor::part) parts.push_back(name);
        if (meaning == models::StrayTensor::apart) apart.push_back(name);
    }
    if (!parts.empty())
        throw DataError(
            fmt::format("{}: the configured model has no place for {}, without which it computes something else; make "
                        "{} agree with the weights",
                        weights_.path(), shortened(parts), described_by_));
    if (apart.empty()) return {};
    return {
        fmt::format("{}: nothing is made of {}, which the model has no place for", weights_.path(), shortened(apart))};
}

/// Refuses what the config.json beside the weights says against the model.
void ModelWeights::check_description(const std::filesystem::path& path) const {
    const auto folder = std::filesystem::is_directory(path) ? path : path.parent_path();
    const auto text = read_text(folder / "config.json");
    if (!text) return;
    if (const auto sentences = model_.disagreements(*text); !sentences.empty())
        throw DataError(fmt::format("\"{}\", which describes {}: {}; make {} agree with it",
                                    (folder / "config.json").string(), weights_.path(), fmt::join(sentences, "; "),
                                    described_by_));
}

}  // namespace smp::runtime
