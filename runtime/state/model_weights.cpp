#include "runtime/state/model_weights.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <set>
#include <string_view>
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

/// All names under which files may have the model's parameters.
std::set<std::string> names_known(const models::ModelSpec& model) {
    std::set<std::string> known;
    for (int module = 0; module < model.module_count(); ++module)
        for (const models::Parameter& parameter : model.parameters(module, 1, 0))
            for (const std::string& name : model.names_in_files(parameter.name)) known.insert(name);
    return known;
}

/// A tensor's name without what PyTorch's wrappers of modules (data parallelism, compilation, FSDP, checkpointing,
/// DeepSpeed, Lightning) have added to it.
std::string without_wrappers(std::string_view name) {
    constexpr std::array<std::string_view, 3> kInFront = {"module", "model", "_forward_module"};
    constexpr std::array<std::string_view, 3> kAnywhere = {"_orig_mod", "_fsdp_wrapped_module",
                                                           "_checkpoint_wrapped_module"};
    const auto is_in = [](const auto& list, std::string_view word) {
        return std::ranges::find(list, word) != list.end();
    };
    std::string bare;
    for (std::size_t end = 0; end != name.npos;) {
        end = name.find('.');
        const std::string_view word = name.substr(0, end);
        name.remove_prefix(end == name.npos ? 0 : end + 1);
        if (end != name.npos && (is_in(kAnywhere, word) || (bare.empty() && is_in(kInFront, word)))) continue;
        bare += word;
        if (end != name.npos) bare += '.';
    }
    return bare;
}

}  // namespace

ModelWeights::ModelWeights(const std::filesystem::path& path, const models::ModelSpec& model, std::string described_by)
    : weights_(open_weights(path)), model_(model), described_by_(std::move(described_by)) {
    check_description(path);
    name_entries();
    warnings_ = check_strays();
}

void ModelWeights::name_entries() {
    const std::set<std::string> known = names_known(model_);
    for (const auto& [name, entry] : weights_.entries()) {
        const std::string bare = known.contains(name) ? name : without_wrappers(name);
        const auto [first, is_new] = entries_.try_emplace(bare, entry);
        if (!is_new && known.contains(bare))
            throw DataError(
                fmt::format("{} has the parameter {} twice, as {} and as {}; write a file with one of the two models",
                            weights_.path(), bare, first->second->name, name));
    }
    for (const std::string& parameter : models::parameter_names(model_)) {
        std::vector<std::string> found;
        for (const std::string& name : model_.names_in_files(parameter))
            if (const auto entry = entries_.find(name); entry != entries_.end()) found.push_back(entry->second->name);
        if (found.size() > 1)
            throw DataError(
                fmt::format("{} has the parameter {} twice, as {} and as {}; write a file with one of the two models",
                            weights_.path(), parameter, found[0], found[1]));
    }
}

/// Under one of the parameter's names in files; null if there is none.
const SafetensorsEntry* ModelWeights::find(const std::string& parameter) const {
    for (const std::string& candidate : model_.names_in_files(parameter))
        if (const auto entry = entries_.find(candidate); entry != entries_.end()) return entry->second;
    return nullptr;
}

const SafetensorsEntry& ModelWeights::entry_of(const models::Parameter& parameter) const {
    const std::string& name = parameter.tied_to.empty() ? parameter.name : parameter.tied_to;
    if (const SafetensorsEntry* entry = find(name)) return *entry;
    for (const std::string& other : tied_to(model_, name))
        if (const SafetensorsEntry* entry = find(other)) return *entry;
    refuse_missing(name);
}

void ModelWeights::refuse_missing(const std::string& parameter) const {
    const auto names = model_.names_in_files(parameter);
    const std::string missing = fmt::format("{} has no tensor {}", weights_.path(), fmt::join(names, " or "));
    // Shortest name first: what is before it is the shortest prefix to name.
    for (const std::string& name : names)
        for (const auto& [found, entry] : weights_.entries())
            if (found.ends_with("." + name))
                throw DataError(fmt::format("{}, but {}; write the file again with its tensors' names without \"{}\"",
                                            missing, found, found.substr(0, found.size() - name.size())));
    std::vector<std::string> all;
    for (const auto& [found, entry] : weights_.entries()) all.push_back(found);
    throw DataError(fmt::format("{}, but {}; it must hold a {} of the shape that {} describes, under these names",
                                missing, all.empty() ? "nothing at all" : shortened(all), model_.family(),
                                described_by_));
}

void ModelWeights::require_shape(const SafetensorsEntry& entry, const models::Parameter& parameter) const {
    if (entry.shape == parameter.global_shape) return;
    const std::string found =
        fmt::format("{}: {} has shape [{}], the configured model needs [{}]", weights_.path(), entry.name,
                    fmt::join(entry.shape, ", "), fmt::join(parameter.global_shape, ", "));
    if (entry.shape.size() == 2 && std::equal(entry.shape.rbegin(), entry.shape.rend(), parameter.global_shape.begin(),
                                              parameter.global_shape.end()))
        throw DataError(
            found +
            ", its transpose: these are the weights of Linear layers, as nanoGPT keeps them; write the file again "
            "with the matrices of attention and MLP transposed (tensor.t().contiguous()), those that are square too");
    throw DataError(fmt::format("{}; make {} agree with the weights", found, described_by_));
}

std::string ModelWeights::described(const models::Parameter& parameter) const {
    const SafetensorsEntry& entry = entry_of(parameter);
    return fmt::format("\"{}\": {}", weights_.file_of(entry), entry.name);
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
    const std::set<std::string> known = names_known(model_);
    std::vector<std::string> parts, apart;
    for (const auto& [name, entry] : weights_.entries()) {
        const std::string bare = without_wrappers(name);
        if (known.contains(name) || known.contains(bare)) continue;
        const models::StrayTensor meaning = model_.meaning_of(bare);
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
    constexpr std::uintmax_t kLongest = 1 << 20;  // a config.json has some kilobytes
    std::error_code none;
    if (const auto size = std::filesystem::file_size(folder / "config.json", none); !none && size > kLongest)
        throw DataError(
            fmt::format("\"{}\" is {} bytes long, where a model's description has at most {}; put the right "
                        "one beside the weights, or none",
                        (folder / "config.json").string(), size, kLongest));
    const auto text = read_text(folder / "config.json");
    if (!text) return;
    if (const auto sentences = model_.disagreements(*text); !sentences.empty())
        throw DataError(fmt::format("\"{}\", which describes {}: {}; make {} agree with it",
                                    (folder / "config.json").string(), weights_.path(), fmt::join(sentences, "; "),
                                    described_by_));
}

}  // namespace smp::runtime
