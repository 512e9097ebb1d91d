#include "runtime/update/adamw.h"

#include <stdexcept>

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>

#include "models/kernels/cuda/operators.h"
#include "models/kernels/kernels.h"
#include "models/kernels/own_kernels.h"
#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime {

AdamW::AdamW(const Stage& stage, const TrainingOptions& options, std::span<const Range> ranges)
    : stage_(stage),
      ranges_(ranges.begin(), ranges.end()),
      parts_(parts_in(stage.layout(), ranges)),
      beta1_(options.beta1),
      beta2_(options.beta2),
      epsilon_(options.epsilon),
      weight_decay_(options.weight_decay),
      groups_(2) {
    std::int64_t elements = 0;
    for (const Range& range : ranges) elements += range.size();
    first_moments_ = models::kernels::zeros({elements}, stage.flat_gradients().options());
    second_moments_ = models::kernels::zeros({elements}, first_moments_.options());
    if (stage.flat_values().scalar_type() != at::kFloat)
        masters_ = models::kernels::zeros({elements}, first_moments_.options());

    groups_[0].weight_decay = options.weight_decay;
    for (const ParameterPart& part : parts_) {
        Group& group = groups_[stage.parameters()[part.parameter].decays ? 0 : 1];
        const auto of_flat = [&](const at::Tensor& flat) { return flat.narrow(0, part.flat.begin, part.flat.size()); };
        const auto of_own = [&](const at::Tensor& state) {
            return state.narrow(0, part.packed.begin, part.packed.size());
        };
        group.values.push_back(masters_.defined() ? of_own(masters_) : of_flat(stage.flat_values()));
        group.gradients.push_back(of_flat(stage.flat_gradients()));
        group.first_moments.push_back(of_own(first_moments_));
        group.second_moments.push_back(of_own(second_moments_));
    }
}

void AdamW::start_from(int parameter, const at::Tensor& values) {
    if (!masters_.defined()) return;
    const std::int64_t begin = stage_.layout().places[parameter].begin;
    for (const ParameterPart& part : parts_) {
        if (part.parameter != parameter) continue;
        masters_.narrow(0, part.packed.begin, part.packed.size())
            .copy_(values.view({-1}).narrow(0, part.flat.begin - begin, part.flat.size()));
    }
}

const at::Tensor& AdamW::state(Held kind) const {
    switch (kind) {
        case Held::master: return masters_;
        case Held::first_moment: return first_moments_;
        case Held::second_moment: return second_moments_;
        case Held::value: break;
    }
    throw std::logic_error("AdamW::state: values are the stage's");
}

std::int64_t AdamW::bytes() const {
    const std::size_t masters = masters_.defined() ? masters_.nbytes() : 0;
    return static_cast<std::int64_t>(first_moments_.nbytes() + second_moments_.nbytes() + masters);
}

void AdamW::step_on_cuda(std::int64_t update, double learning_rate, const cuda::StepDecision* decision) {
    void* stream = models::kernels::cuda::stream_of(stage_.flat_gradients());
    const at::Tensor& values = stage_.flat_values();
    for (const ParameterPart& part : parts_) {
        const models::kernels::Elements here = models::kernels::mutable_elements(values).from(part.flat.begin);
        const auto own = [&](const at::Tensor& state) { return state.mutable_data_ptr<float>() + part.packed.begin; };
        const bool is_rounded = masters_.defined();
        cuda::adamw({.value = is_rounded ? own(masters_) : here.fp32(),
                     .rounded = is_rounded ? here : models::kernels::Elements{},
                     .gradient = stage_.flat_gradients().const_data_ptr<float>() + part.flat.begin,
                     .first_moment = own(first_moments_),
                     .second_moment = own(second_moments_)},
                    part.flat.size(),
                    {.update = update,
                     .learning_rate = learning_rate,
                     .beta1 = beta1_,
                     .beta2 = beta2_,
                     .epsilon = epsilon_,
                     .weight_decay = stage_.parameters()[part.parameter].decays ? weight_decay_ : 0},
                    decision, stream);
    }
}

void AdamW::step(std::int64_t update, double learning_rate, double factor) {
    const at::Tensor& gradients = stage_.flat_gradients();
    if (factor != 1)
        for (const Range& range : ranges_) gradients.narrow(0, range.begin, range.size()).mul_(factor);
    for (const Group& group : groups_) {
        if (group.values.empty()) continue;
        const at::Tensor count = at::full({}, static_cast<double>(update), group.values.front().options());
        const std::vector<at::Tensor> steps(group.values.size(), count);
        at::_fused_adamw_(group.values, group.gradients, group.first_moments, group.second_moments,
                          /*max_exp_avg_sqs=*/{}, steps, learning_rate, beta1_, beta2_, group.weight_decay, epsilon_,
                          /*amsgrad=*/false, /*maximize=*/false);
    }
    if (!masters_.defined()) return;
    std::int64_t begin = 0;
    for (const Range& range : ranges_) {  // rounded to nearest even
        stage_.flat_values().narrow(0, range.begin, range.size()).copy_(masters_.narrow(0, begin, range.size()));
        begin += range.size();
    }
}

}  // namespace smp::runtime
