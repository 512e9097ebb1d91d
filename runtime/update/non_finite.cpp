#include "runtime/update/non_finite.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace smp::runtime {

namespace {

/// A parameter by its module and its place in it: counts in the order of the model, on every rank alike.
constexpr std::int64_t kParametersOfModule = 64;

}  // namespace

bool is_finite(const at::Tensor& tensor) { return at::isfinite(tensor.cpu()).all().item<bool>(); }

std::optional<NonFinite> NonFiniteSearch::least(std::optional<std::int64_t> own,
                                                const std::function<std::string(std::int64_t)>& where) const {
    constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
    const at::Tensor mine = at::full({1}, own.value_or(kNone), at::kLong);
    at::Tensor all = mine;
    if (world_.size() > 1) {
        all = at::empty({world_.size()}, at::kLong);
        world_.all_gather(all, mine).wait();
    }
    const auto* keys = all.const_data_ptr<std::int64_t>();
    const auto* lowest = std::min_element(keys, keys + world_.size());
    if (*lowest == kNone) return std::nullopt;
    return NonFinite{.where = where(*lowest), .rank = static_cast<int>(lowest - keys)};
}

namespace {

std::string name_of(const models::ModelSpec& model, const char* what, std::int64_t key) {
    const auto module = static_cast<int>(key / kParametersOfModule);
    const auto parameters = model.parameters(module, 1, 0);
    return fmt::format("the {} of {} (module {})", what, parameters.at(key % kParametersOfModule).name,
                       model.module_name(module));
}

/// f(parameter, its key) for each of the stage, in order.
template <class F>
void for_parameters(const Stage& stage, const F& f) {
    int module = -1;
    std::int64_t place = 0;
    for (int i = 0; i < static_cast<int>(stage.parameters().size()); ++i) {
        place = stage.module_of(i) == module ? place + 1 : 0;
        module = stage.module_of(i);
        f(i, module * kParametersOfModule + place);
    }
}

}  // namespace

std::optional<NonFinite> NonFiniteSearch::in_values() const {
    std::optional<std::int64_t> first;
    for_parameters(stage_, [&](int parameter, std::int64_t key) {
        if (!first && !is_finite(stage_.value(parameter))) first = key;
    });
    return least(first, [&](std::int64_t key) { return name_of(model_, "value", key); });
}

std::optional<NonFinite> NonFiniteSearch::in_gradients(std::span<const Range> owned) const {
    std::optional<std::int64_t> last;
    for_parameters(stage_, [&](int parameter, std::int64_t key) {
        // A tied one's gradient has been added to the embedding's.
        if (!stage_.parameters()[parameter].tied_to.empty()) return;
        for (const Range& range : owned) {
            const Range part = intersection(stage_.layout().places[parameter], range);
            if (part.size() > 0 && !is_finite(stage_.flat_gradients().narrow(0, part.begin, part.size()))) last = key;
        }
    });
    if (last) last = -*last;
    return least(last, [&](std::int64_t key) { return name_of(model_, "gradient", -key); });
}

std::optional<NonFinite> NonFiniteSearch::in_outputs(std::optional<int> first) const {
    return least(first, [&](std::int64_t module) {
        return fmt::format("the output of {}", model_.module_name(static_cast<int>(module)));
    });
}

}  // namespace smp::runtime
