#include "runtime/stage/initial_weights.h"

#include <optional>
#include <span>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "models/initialise.h"
#include "models/slice.h"
#include "runtime/files/data_error.h"
#include "runtime/stage/held_values.h"
#include "runtime/state/model_weights.h"

namespace smp::runtime {

namespace {

/// This rank's part of a parameter, into fp32 `values`.
void load(const ModelWeights& weights, const models::Parameter& parameter, const at::Tensor& values) {
    models::read_slice(
        parameter.slice, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())},
        [&](std::int64_t first, std::span<float> destination) { weights.read(parameter, first, destination); });
}

/// Refuses what no step could use.
void require_held(const ModelWeights& weights, const models::Parameter& parameter, const at::Tensor& exact,
                  const at::Tensor& value) {
    const auto unheld = first_unheld(exact, value);
    if (!unheld) return;
    throw DataError(fmt::format("{} has element {} of {}; {}", weights.described(parameter),
                                parameter.slice.global_index(unheld->element), described(*unheld, value),
                                unheld->is_finite ? "train with parallel.bf16 or in fp32, or scale the weights"
                                                  : "the file is damaged, or was written by a run that had failed"));
}

}  // namespace

std::vector<std::string> set_initial_weights(Stage& stage, const models::ModelSpec& model,
                                             const TrainingOptions& training,
                                             const std::function<void(int parameter, const at::Tensor& values)>& take) {
    std::optional<ModelWeights> weights;
    if (!training.initial_weights.empty()) weights.emplace(training.initial_weights, model, "`model`");
    for (int i = 0; i < static_cast<int>(stage.parameters().size()); ++i) {
        const models::Parameter& parameter = stage.parameters()[i];
        if (weights && !parameter.tied_to.empty()) weights->require_tied(parameter);
        if (stage.layout().partner[i] >= 0) continue;
        const at::Tensor& value = stage.value(i);
        const bool is_rounded = value.scalar_type() != at::kFloat, is_here = value.is_cpu() && !is_rounded;
        const at::Tensor exact = is_here ? value : at::zeros(value.sizes(), at::kFloat);
        if (weights)
            load(*weights, parameter, exact);
        else
            models::initialise(exact, parameter, training.seed);
        if (!is_here) value.copy_(exact);
        if (weights) require_held(*weights, parameter, exact, value);
        if (is_rounded && take) take(i, exact);
    }
    return weights ? weights->warnings() : std::vector<std::string>{};
}

}  // namespace smp::runtime
