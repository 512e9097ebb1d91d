#include "models/gpt2/gpt2_block_half.h"
#include "models/gpt2/gpt2_stash.h"
#include "models/kernels/kernels.h"

namespace smp::models {

namespace {

enum Parameters { kGain, kBias, kWeight, kWeightBias, kProjectionWeight, kProjectionBias };

constexpr std::size_t kInput = place(kMlpStash, "middle"), kMean = place(kMlpStash, "ln_2.mean"),
                      kRstd = place(kMlpStash, "ln_2.rstd"), kNormalised = place(kMlpStash, "ln_2"),
                      kBeforeGelu = place(kMlpStash, "mlp.before_gelu"),
                      kAfterGelu = place(kMlpStash, "mlp.after_gelu"),
                      kBeforeGeluGradient = place(kMlpStash, "mlp.before_gelu.gradient"),
                      kBranchGradient = place(kMlpStash, "mlp.branch.gradient");

kernels::DropoutKey output_key(const BlockHalf& half, const Microbatch& microbatch) {
    return own_rows_dropout_key(half.context, microbatch, half.options.resid_pdrop, half.layer,
                                kernels::DropoutSite::mlp_output);
}

}  // namespace

at::Tensor mlp_forward(const BlockHalf& half, const at::Tensor& input, HalfStash stash, const Microbatch& microbatch) {
    const auto& p = half.parameters;
    auto [normalised, mean, rstd] =
        kernels::layer_norm(input, p[kGain].value, p[kBias].value, half.options.layer_norm_epsilon);
    half.context.progress();
    const at::Tensor before =
        kernels::linear(gather_rows(half.context, normalised), p[kWeight].value, p[kWeightBias].value);  // [N, inner]
    half.context.progress();
    const at::Tensor after = kernels::gelu(before);
    half.context.progress();
    at::Tensor branch = kernels::linear(after, p[kProjectionWeight].value, {});  // [N, h], this rank's columns
    half.context.progress();
    branch = sum_to_own_rows(half.context, branch);
    at::Tensor output = kernels::add_residual(input, branch, p[kProjectionBias].value, output_key(half, microbatch));
    half.context.progress();
    if (!microbatch.training) return output;
    stash[kInput] = input;
    stash[kMean] = mean;
    stash[kRstd] = rstd;
    stash[kBeforeGelu] = before;
    if (half.context.storage.recomputes_cheap) return output;
    stash[kNormalised] = normalised;
    stash[kAfterGelu] = after;
    return output;
}

at::Tensor mlp_backward_input(const BlockHalf& half, const at::Tensor& gradient, HalfStash stash,
                              const Microbatch& microbatch) {
    const auto& p = half.parameters;
    const at::Tensor branch_gradient = kernels::dropout_backward(gradient, output_key(half, microbatch));
    half.context.progress();
    at::Tensor rows = gather_rows(half.context, branch_gradient);  // [N, h]
    const at::Tensor inner_gradient = kernels::linear_backward_input(rows, p[kProjectionWeight].value);
    if (half.backward == Backward::split) rows = branch_gradient;
    half.context.progress();
    const bool again = half.context.storage.recomputes_cheap;
    if (again) stash[kAfterGelu] = kernels::gelu(stash[kBeforeGelu]);
    kernels::gelu_backward(inner_gradient, stash[kBeforeGelu]);
    stash[kBeforeGelu].reset();
    half.context.progress();
    at::Tensor normalised_gradient = kernels::linear_backward_input(inner_gradient, p[kWeight].value);
    half.context.progress();
    normalised_gradient = sum_to_own_rows(half.context, normalised_gradient);
    kernels::layer_norm_backward_weight(p[kGain].gradient, p[kBias].gradient, normalised_gradient, stash[kInput],
                                        stash[kMean], stash[kRstd]);
    half.context.progress();
    at::Tensor input_gradient = kernels::layer_norm_backward_input(normalised_gradient, stash[kInput], stash[kMean],
                                                                   stash[kRstd], p[kGain].value, gradient);
    half.context.progress();
    if (again)
        stash[kNormalised] =
            kernels::layer_norm(stash[kInput], p[kGain].value, p[kBias].value, half.options.layer_norm_epsilon).y;
    stash[kBeforeGeluGradient] = inner_gradient;
    stash[kBranchGradient] = rows;
    drop_used(stash, kMlpStash, Pass::backward_input);
    return input_gradient;
}

void mlp_backward_weight(const BlockHalf& half, HalfStash stash) {
    const auto& p = half.parameters;
    at::Tensor rows = stash[kBranchGradient];
    if (half.backward == Backward::split) rows = gather_rows(half.context, rows);  // [N, h]
    kernels::linear_backward_weight(p[kProjectionWeight].gradient, stash[kAfterGelu], rows);
    half.context.progress();
    kernels::accumulate_column_sums(p[kProjectionBias].gradient, rows);
    half.context.progress();
    rows = gather_rows(half.context, stash[kNormalised]);
    kernels::linear_backward_weight(p[kWeight].gradient, rows, stash[kBeforeGeluGradient]);
    half.context.progress();
    kernels::accumulate_column_sums(p[kWeightBias].gradient, stash[kBeforeGeluGradient]);
    half.context.progress();
    drop_used(stash, kMlpStash, Pass::backward_weight);
}

}  // namespace smp::models
