#include "models/gpt2_block_half.h"
#include "models/kernels/kernels.h"

namespace smp::models {

namespace {

enum Parameters { kGain, kBias, kWeight, kWeightBias, kProjectionWeight, kProjectionBias };

enum Kept { kInput, kMean, kRstd, kNormalised, kBeforeGelu, kAfterGelu };
enum Pending { kPendingNormalised, kBeforeGeluGradient, kPendingAfterGelu, kBranchGradient };

kernels::DropoutKey output_key(const BlockHalf& half, const Microbatch& microbatch) {
    return dropout_key(microbatch, half.options.resid_pdrop, half.layer, kernels::DropoutSite::mlp_output);
}

}  // namespace

at::Tensor mlp_forward(const BlockHalf& half, const at::Tensor& input, Stash& stash, const Microbatch& microbatch) {
    const auto& p = half.parameters;
    auto [normalised, mean, rstd] =
        kernels::layer_norm(input, p[kGain].value, p[kBias].value, half.options.layer_norm_epsilon);
    half.context.progress();
    const at::Tensor before = kernels::linear(normalised, p[kWeight].value, p[kWeightBias].value);  // [N, inner]
    half.context.progress();
    const at::Tensor after = kernels::gelu(before);
    half.context.progress();
    const at::Tensor branch = kernels::linear(after, p[kProjectionWeight].value, {});  // [N, h], this rank's columns
    half.context.progress();
    sum_over_tensor_group(half.context, branch);
    at::Tensor output = kernels::add_residual(input, branch, p[kProjectionBias].value, output_key(half, microbatch));
    half.context.progress();
    if (microbatch.training) stash = {input, mean, rstd, normalised, before, after};
    return output;
}

at::Tensor mlp_backward_input(const BlockHalf& half, const at::Tensor& gradient, Stash& stash,
                              const Microbatch& microbatch) {
    const auto& p = half.parameters;
    const at::Tensor branch_gradient = kernels::dropout_backward(gradient, output_key(half, microbatch));
    half.context.progress();
    const at::Tensor inner_gradient = kernels::linear_backward_input(branch_gradient, p[kProjectionWeight].value);
    half.context.progress();
    kernels::gelu_backward(inner_gradient, stash[kBeforeGelu]);
    stash[kBeforeGelu].reset();
    half.context.progress();
    const at::Tensor normalised_gradient = kernels::linear_backward_input(inner_gradient, p[kWeight].value);
    half.context.progress();
    sum_over_tensor_group(half.context, normalised_gradient);
    kernels::layer_norm_backward_weight(p[kGain].gradient, p[kBias].gradient, normalised_gradient, stash[kInput],
                                        stash[kMean], stash[kRstd]);
    half.context.progress();
    at::Tensor input_gradient = kernels::layer_norm_backward_input(normalised_gradient, stash[kInput], stash[kMean],
                                                                   stash[kRstd], p[kGain].value, gradient);
    half.context.progress();
    stash = {stash[kNormalised], inner_gradient, stash[kAfterGelu], branch_gradient};
    return input_gradient;
}

void mlp_backward_weight(const BlockHalf& half, Stash& stash) {
    const auto& p = half.parameters;
    kernels::linear_backward_weight(p[kProjectionWeight].gradient, stash[kPendingAfterGelu], stash[kBranchGradient]);
    half.context.progress();
    kernels::accumulate_column_sums(p[kProjectionBias].gradient, stash[kBranchGradient]);
    half.context.progress();
    kernels::linear_backward_weight(p[kWeight].gradient, stash[kPendingNormalised], stash[kBeforeGeluGradient]);
    half.context.progress();
    kernels::accumulate_column_sums(p[kWeightBias].gradient, stash[kBeforeGeluGradient]);
    half.context.progress();
    stash.clear();
}

}  // namespace smp::models
