#include "runtime/update/non_finite.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include "runtime/update/non_finite_marks.h"

namespace smp::runtime {

namespace {

/// A parameter by its module and its place in it: counts in the order of the model, on every rank alike.
constexpr std::int64_t kParametersOfModule = 64;

}  // namespace

std::optional<NonFinite> NonFiniteSearch::least(std::optional<std::int64_t> own,
                                                const std::function<std::string(std::int64_t)>& where) const {
    constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
    const at::Tensor mine = at::full({1}, own.value_or(kNone), at::kLong);
    at::Tensor all = mine;
    comms::Communicator& world = *groups_.world;
    if (world.size() > 1) {
        all = at::empty({world.size()}, at::kLong);
        world.all_gather(all, mine).wait();
    }
    const auto* keys = all.const_data_ptr<std::int64_t>();
    const auto* lowest = std::min_element(keys, keys + world.size());
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

/// The key of each of the stage's parameters, in order.
std::vector<std::int64_t> keys_of(const Stage& stage) {
    std::vector<std::int64_t> keys;
    int module = -1;
    std::int64_t place = 0;
    for (int i = 0; i < static_cast<int>(stage.parameters().size()); ++i) {
        place = stage.module_of(i) == module ? place + 1 : 0;
        module = stage.module_of(i);
        keys.push_back(module * kParametersOfModule + place);
    }
    return keys;
}

}  // namespace

std::optional<NonFinite> NonFiniteSearch::in_values() const {
    const auto keys = keys_of(stage_);
    NonFiniteMarks marks(groups_, keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) marks.look(i, stage_.value(static_cast<int>(i)));
    const auto first = marks.first();
    return least(first ? std::optional(keys[*first]) : std::nullopt,
                 [&](std::int64_t key) { return name_of(model_, "value", key); });
}

std::optional<NonFinite> NonFiniteSearch::in_gradients(std::span<const Range> owned) const {
    const auto keys = keys_of(stage_);
    NonFiniteMarks marks(groups_, keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
        // A tied one's gradient has been added to the embedding's.
        if (!stage_.parameters()[i].tied_to.empty()) continue;
        for (const Range& range : owned) {
            const Range part = intersection(stage_.layout().places[i], range);
            if (part.size() > 0) marks.look(i, stage_.flat_gradients().narrow(0, part.begin, part.size()));
        }
    }
    const auto last = marks.last();
    return least(last ? std::optional(-keys[*last]) : std::nullopt,
                 [&](std::int64_t key) { return name_of(model_, "gradient", -key); });
}

std::optional<NonFinite> NonFiniteSearch::in_outputs(std::optional<int> first) const {
    return least(first, [&](std::int64_t module) {
        return fmt::format("the output of {}", model_.module_name(static_cast<int>(module)));
    });
}

}  // namespace smp::runtime
