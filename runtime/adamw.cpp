#include "runtime/adamw.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

namespace smp::runtime {

AdamW::AdamW(Stage& stage, const TrainingOptions& options, std::span<const Range> ranges)
    : beta1_(options.beta1), beta2_(options.beta2), epsilon_(options.epsilon), groups_(2) {
    std::int64_t elements = 0;
    for (const Range& range : ranges) elements += range.size();
    first_moments_ = at::zeros({elements}, stage.flat_values().options());
    second_moments_ = at::zeros_like(first_moments_);

    groups_[0].weight_decay = options.weight_decay;
    const auto& layout = stage.layout();
    for (std::size_t i = 0; i < layout.places.size(); ++i) {
        if (layout.partner[i] >= 0) continue;  // the embedding's update is the tied head's
        Group& group = groups_[stage.parameters()[i].decays ? 0 : 1];
        std::int64_t range_begin = 0;  // in the moments
        for (const Range& range : ranges) {
            const Range part = intersection(layout.places[i], range);
            if (part.size() > 0) {
                const auto of_flat = [&](const at::Tensor& flat) { return flat.narrow(0, part.begin, part.size()); };
                const auto of_moments = [&](const at::Tensor& moments) {
                    return moments.narrow(0, range_begin + part.begin - range.begin, part.size());
                };
                group.values.push_back(of_flat(stage.flat_values()));
                group.gradients.push_back(of_flat(stage.flat_gradients()));
                group.first_moments.push_back(of_moments(first_moments_));
                group.second_moments.push_back(of_moments(second_moments_));
            }
            range_begin += range.size();
        }
    }
}

std::int64_t AdamW::bytes() const {
    return static_cast<std::int64_t>(first_moments_.nbytes() + second_moments_.nbytes());
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
