#include "runtime/adamw.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

namespace smp::runtime {

AdamW::AdamW(Stage& stage, const TrainingOptions& options)
    : beta1_(options.beta1),
      beta2_(options.beta2),
      epsilon_(options.epsilon),
      first_moments_(at::zeros_like(stage.flat_values())),
      second_moments_(at::zeros_like(stage.flat_values())),
      groups_(2) {
    groups_[0].weight_decay = options.weight_decay;
    const auto& layout = stage.layout();
    for (std::size_t i = 0; i < layout.places.size(); ++i) {
        if (layout.partner[i] >= 0) continue;  // the embedding's update is the tied head's
        Group& group = groups_[stage.parameters()[i].decays ? 0 : 1];
        const auto part = [&](const at::Tensor& flat) {
            return flat.narrow(0, layout.places[i].begin, layout.places[i].size());
        };
        group.values.push_back(part(stage.flat_values()));
        group.gradients.push_back(part(stage.flat_gradients()));
        group.first_moments.push_back(part(first_moments_));
        group.second_moments.push_back(part(second_moments_));
    }
}

void AdamW::step(double learning_rate) {
    ++updates_;
    for (Group& group : groups_) {
        if (group.values.empty()) continue;
        const at::Tensor count = at::full({}, static_cast<double>(updates_), group.values.front().options());
        group.steps.assign(group.values.size(), count);
        at::_fused_adamw_(group.values, group.gradients, group.first_moments, group.second_moments,
                          /*max_exp_avg_sqs=*/{}, group.steps, learning_rate, beta1_, beta2_, group.weight_decay,
                          epsilon_, /*amsgrad=*/false, /*maximize=*/false);
    }
}

}  // namespace smp::runtime
