#include "runtime/update/adamw.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

namespace smp::runtime {

template <class F>
void AdamW::for_parts(int parameter, const F& f) const {
    std::int64_t range_begin = 0;  // in the moments
    for (const Range& range : ranges_) {
        const Range part = intersection(stage_.layout().places[parameter], range);
        if (part.size() > 0)
            f(part, Range{range_begin + part.begin - range.begin, range_begin + part.end - range.begin});
        range_begin += range.size();
    }
}

AdamW::AdamW(const Stage& stage, const TrainingOptions& options, std::span<const Range> ranges)
    : stage_(stage),
      ranges_(ranges.begin(), ranges.end()),
      beta1_(options.beta1),
      beta2_(options.beta2),
      epsilon_(options.epsilon),
      groups_(2) {
    std::int64_t elements = 0;
    for (const Range& range : ranges) elements += range.size();
    first_moments_ = at::zeros({elements}, stage.flat_gradients().options());
    second_moments_ = at::zeros_like(first_moments_);
    if (stage.flat_values().scalar_type() != at::kFloat) masters_ = at::zeros_like(first_moments_);

    groups_[0].weight_decay = options.weight_decay;
    const auto& layout = stage.layout();
    for (int i = 0; i < static_cast<int>(layout.places.size()); ++i) {
        if (layout.partner[i] >= 0) continue;  // the embedding's update is the tied head's
        Group& group = groups_[stage.parameters()[i].decays ? 0 : 1];
        for_parts(i, [&](const Range& part, const Range& own) {
            const auto of_flat = [&](const at::Tensor& flat) { return flat.narrow(0, part.begin, part.size()); };
            const auto of_own = [&](const at::Tensor& state) { return state.narrow(0, own.begin, own.size()); };
            group.values.push_back(masters_.defined() ? of_own(masters_) : of_flat(stage.flat_values()));
            group.gradients.push_back(of_flat(stage.flat_gradients()));
            group.first_moments.push_back(of_own(first_moments_));
            group.second_moments.push_back(of_own(second_moments_));
        });
    }
}

void AdamW::start_from(int parameter, const at::Tensor& values) {
    if (!masters_.defined()) return;
    const std::int64_t begin = stage_.layout().places[parameter].begin;
    for_parts(parameter, [&](const Range& part, const Range& own) {
        masters_.narrow(0, own.begin, own.size()).copy_(values.view({-1}).narrow(0, part.begin - begin, part.size()));
    });
}

std::int64_t AdamW::bytes() const {
    const std::size_t masters = masters_.defined() ? masters_.nbytes() : 0;
    return static_cast<std::int64_t>(first_moments_.nbytes() + second_moments_.nbytes() + masters);
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
    if (!masters_.defined()) return;
    std::int64_t begin = 0;
    for (const Range& range : ranges_) {  // rounded to nearest even
        stage_.flat_values().narrow(0, range.begin, range.size()).copy_(masters_.narrow(0, begin, range.size()));
        begin += range.size();
    }
}

}  // namespace smp::runtime
