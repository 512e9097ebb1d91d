#include "models/gpt2/gpt2_block_half.h"
#include "models/gpt2/gpt2_stash.h"
#include "models/kernels/kernels.h"

namespace smp::models {

namespace {

enum Parameters { kGain, kBias, kQkvWeight, kQkvBias, kProjectionWeight, kProjectionBias };

constexpr std::size_t kInput = place(kAttentionStash, kModuleInput), kMean = place(kAttentionStash, "ln_1.mean"),
                      kRstd = place(kAttentionStash, "ln_1.rstd"), kNormalised = place(kAttentionStash, "ln_1"),
                      kQkv = place(kAttentionStash, "attn.qkv"), kAttended = place(kAttentionStash, "attn.attended"),
                      kLogsumexp = place(kAttentionStash, "attn.logsumexp"),
                      kQkvGradient = place(kAttentionStash, "attn.qkv.gradient"),
                      kBranchGradient = place(kAttentionStash, "attn.branch.gradient");

kernels::AttentionShape shape_of(const BlockHalf& half, const Microbatch& microbatch) {
    return {.sequences = microbatch.sequences,
            .length = microbatch.length,
            .heads = half.shard.heads,
            .head_width = half.shard.head_width,
            .first_head = half.shard.first_head};
}

kernels::DropoutKey weights_key(const BlockHalf& half, const Microbatch& microbatch) {
    kernels::DropoutKey key =
        dropout_key(microbatch, half.options.attn_pdrop, half.layer, kernels::DropoutSite::attention_weights);
    key.seed ^= half.context.tensor_parallel_seed * 0x9e3779b97f4a7c15;  // the one site that tensor parallelism shards
    return key;
}

kernels::DropoutKey output_key(const BlockHalf& half, const Microbatch& microbatch) {
    return own_rows_dropout_key(half.context, microbatch, half.options.resid_pdrop, half.layer,
                                kernels::DropoutSite::attention_output);
}

}  // namespace

at::Tensor attention_forward(const BlockHalf& half, const at::Tensor& input, HalfStash stash,
                             const Microbatch& microbatch) {
    const auto& p = half.parameters;
    auto [normalised, mean, rstd] =
        kernels::layer_norm(input, p[kGain].value, p[kBias].value, half.options.layer_norm_epsilon);
    half.context.progress();
    const at::Tensor qkv = kernels::linear(gather_rows(half.context, normalised), p[kQkvWeight].value,
                                           p[kQkvBias].value);  // [N, 3·H·d]
    half.context.progress();
    auto [attended, logsumexp] = kernels::attention(qkv, shape_of(half, microbatch), weights_key(half, microbatch));
    half.context.progress();
    at::Tensor branch = kernels::linear(attended, p[kProjectionWeight].value, {});  // [N, h], this rank's heads
    half.context.progress();
    branch = sum_to_own_rows(half.context, branch);
    at::Tensor output = kernels::add_residual(input, branch, p[kProjectionBias].value, output_key(half, microbatch));
    half.context.progress();
    if (!microbatch.training) return output;
    stash[kInput] = input;
    stash[kMean] = mean;
    stash[kRstd] = rstd;
    if (!half.context.storage.recomputes_cheap) stash[kNormalised] = normalised;
    stash[kQkv] = qkv;
    stash[kAttended] = attended;
    stash[kLogsumexp] = logsumexp;
    return output;
}

at::Tensor attention_backward_input(const BlockHalf& half, const at::Tensor& gradient, HalfStash stash,
                                    const Microbatch& microbatch) {
    const auto& p = half.parameters;
    const at::Tensor branch_gradient = kernels::dropout_backward(gradient, output_key(half, microbatch));
    half.context.progress();
    at::Tensor rows = gather_rows(half.context, branch_gradient);  // [N, h]
    at::Tensor attended_gradient = kernels::linear_backward_input(rows, p[kProjectionWeight].value);
    if (half.backward == Backward::split) rows = branch_gradient;
    half.context.progress();
    const at::Tensor qkv_gradient =
        kernels::attention_backward(attended_gradient, stash[kQkv], stash[kAttended], stash[kLogsumexp],
                                    shape_of(half, microbatch), weights_key(half, microbatch));
    attended_gradient.reset();
    stash[kQkv].reset();
    half.context.progress();
    at::Tensor normalised_gradient = kernels::linear_backward_input(qkv_gradient, p[kQkvWeight].value);
    half.context.progress();
    normalised_gradient = sum_to_own_rows(half.context, normalised_gradient);
    kernels::layer_norm_backward_weight(p[kGain].gradient, p[kBias].gradient, normalised_gradient, stash[kInput],
                                        stash[kMean], stash[kRstd]);
    half.context.progress();
    at::Tensor input_gradient = kernels::layer_norm_backward_input(normalised_gradient, stash[kInput], stash[kMean],
                                                                   stash[kRstd], p[kGain].value, gradient);
    half.context.progress();
    if (half.context.storage.recomputes_cheap)
        stash[kNormalised] =
            kernels::layer_norm(stash[kInput], p[kGain].value, p[kBias].value, half.options.layer_norm_epsilon).y;
    stash[kQkvGradient] = qkv_gradient;
    stash[kBranchGradient] = rows;
    drop_used(stash, kAttentionStash, Pass::backward_input);
    return input_gradient;
}

void attention_backward_weight(const BlockHalf& half, HalfStash stash) {
    const auto& p = half.parameters;
    at::Tensor rows = stash[kBranchGradient];
    if (half.backward == Backward::split) rows = gather_rows(half.context, rows);  // [N, h]
    kernels::linear_backward_weight(p[kProjectionWeight].gradient, stash[kAttended], rows);
    half.context.progress();
    kernels::accumulate_column_sums(p[kProjectionBias].gradient, rows);
    half.context.progress();
    rows = gather_rows(half.context, stash[kNormalised]);
    kernels::linear_backward_weight(p[kQkvWeight].gradient, rows, stash[kQkvGradient]);
    half.context.progress();
    kernels::accumulate_column_sums(p[kQkvBias].gradient, stash[kQkvGradient]);
    half.context.progress();
    drop_used(stash, kAttentionStash, Pass::backward_weight);
}

}  // namespace smp::models
