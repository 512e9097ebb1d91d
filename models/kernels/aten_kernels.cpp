#include "models/kernels/aten_kernels.h"

#include <cmath>
#include <limits>
#include <tuple>

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "models/kernels/dropout_mask.h"

namespace smp::models::kernels::aten {

namespace {

/// 16 bits → fp32; fp32 and fp64 as they are.
at::Tensor wide(const at::Tensor& x) {
    const bool is_narrow = x.defined() && (x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16);
    return is_narrow ? x.to(at::kFloat) : x;
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
    const at::Tensor y = bias.defined() ? at::addmm(wide(bias), wide(x), wide(w)) : at::mm(wide(x), wide(w));
    return y.to(w.scalar_type());
}

at::Tensor linear_backward_input(const at::Tensor& dy, const at::Tensor& w) {
    return logits(dy, w).to(w.scalar_type());
}

at::Tensor logits(const at::Tensor& x, const at::Tensor& w) { return at::mm(wide(x), wide(w).t()); }

void linear_backward_weight(const at::Tensor& dw, const at::Tensor& x, const at::Tensor& dy) {
    dw.addmm_(wide(x).t(), wide(dy));
}

void accumulate_column_sums(const at::Tensor& dbias, const at::Tensor& dy) { dbias.add_(wide(dy).sum(0)); }

Normalised layer_norm(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& bias, double epsilon) {
    auto [y, mean, rstd] = at::native_layer_norm(wide(x), gain.sizes(), wide(gain), wide(bias), epsilon);
    return {y.to(x.scalar_type()), mean.flatten(), rstd.flatten()};
}

at::Tensor layer_norm_backward_input(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean,
                                     const at::Tensor& rstd, const at::Tensor& gain, const at::Tensor& residual) {
    const at::Tensor normalised = (wide(x) - mean.unsqueeze(1)) * rstd.unsqueeze(1);  // [N, h]
    const at::Tensor g = wide(dy) * wide(gain);
    const at::Tensor dx = (g - g.mean(1, true) - normalised * (g * normalised).mean(1, true)) * rstd.unsqueeze(1);
    return (residual.defined() ? dx + wide(residual) : dx).to(x.scalar_type());
}

void layer_norm_backward_weight(const at::Tensor& dgain, const at::Tensor& dbias, const at::Tensor& dy,
                                const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd) {
    dgain.add_((wide(dy) * ((wide(x) - mean.unsqueeze(1)) * rstd.unsqueeze(1))).sum(0));
    dbias.add_(wide(dy).sum(0));
}

at::Tensor gelu(const at::Tensor& x) { return at::gelu(wide(x), "tanh").to(x.scalar_type()); }

void gelu_backward(const at::Tensor& dy, const at::Tensor& x) {
    dy.copy_(at::gelu_backward(wide(dy), wide(x), "tanh"));
}

at::Tensor dropout_mask_tensor(const DropoutKey& key, std::int64_t sequences, std::int64_t first_row, std::int64_t rows,
                               std::int64_t columns, const at::TensorOptions& options) {
    const DropoutMask dropout = dropout_mask(key);
    at::Tensor mask = at::empty({sequences * rows, columns}, options.dtype(at::kFloat));
    float* data = mask.mutable_data_ptr<float>();
    const auto first_sequence = static_cast<std::uint64_t>(key.first_sequence);
    if (mask.is_cuda()) {
        const c10::impl::VirtualGuardImpl device(mask.device().type());
        fill_dropout_mask_on_cuda(data, dropout, first_sequence, sequences, static_cast<std::uint32_t>(first_row), rows,
                                  columns, device.getStream(mask.device()).native_handle());
    } else {
        for (std::int64_t n = 0; n < sequences * rows; ++n)
            fill_dropout_row(data + n * columns, dropout, first_sequence + static_cast<std::uint64_t>(n / rows),
                             static_cast<std::uint32_t>(first_row + n % rows), columns);
    }
    return mask.to(options.dtype());
}

at::Tensor add_residual(const at::Tensor& residual, const at::Tensor& branch, const at::Tensor& bias,
                        const DropoutKey& key) {
    const at::Tensor biased = bias.defined() ? wide(branch) + wide(bias) : wide(branch);
    return (wide(residual) + aten::dropout_backward(biased, key)).to(residual.scalar_type());
}

at::Tensor dropout_backward(const at::Tensor& dy, const DropoutKey& key) {
    if (key.probability == 0) return dy;
    // The mask of all sequences that the rows touch, of which those rows.
    const at::Tensor x = wide(dy);
    const std::int64_t rows = x.size(0), before = key.first_row / key.length;
    const std::int64_t sequences = (key.first_row + rows + key.length - 1) / key.length - before;
    DropoutKey touched = key;
    touched.first_sequence += before;
    const at::Tensor mask = dropout_mask_tensor(touched, sequences, 0, key.length, x.size(1), x.options());
    return (x * mask.narrow(0, key.first_row - before * key.length, rows)).to(dy.scalar_type());
}

namespace {

struct Heads {
    at::Tensor q, k, v;  // [b, H, T, d]
};

Heads heads_of(const at::Tensor& qkv, const AttentionShape& s) {
    const at::Tensor parts =
        qkv.view({s.sequences, s.length, 3, s.heads, s.head_width}).permute({2, 0, 3, 1, 4});  // [3, b, H, T, d]
    return {parts[0], parts[1], parts[2]};
}

at::Tensor by_heads(const at::Tensor& x, const AttentionShape& s) {  // [N, H·d] → [b, H, T, d]
    return x.view({s.sequences, s.length, s.heads, s.head_width}).transpose(1, 2);
}

at::Tensor causal_scores(const Heads& heads, const AttentionShape& s) {  // [b, H, T, T]
    const at::Tensor above = at::ones({s.length, s.length}, heads.q.options().dtype(at::kBool)).triu(1);
    const double scale = 1 / std::sqrt(static_cast<double>(s.head_width));
    return (at::matmul(heads.q, heads.k.transpose(2, 3)) * scale)
        .masked_fill(above, -std::numeric_limits<double>::infinity());
}

at::Tensor attention_mask(const AttentionShape& s, const DropoutKey& key, const at::TensorOptions& options) {
    return dropout_mask_tensor(key, s.sequences, s.first_head * s.length, s.heads * s.length, s.length, options)
        .view({s.sequences, s.heads, s.length, s.length});
}

}  // namespace

Attended attention(const at::Tensor& stored, const AttentionShape& s, const DropoutKey& key) {
    const at::Tensor qkv = wide(stored);
    const Heads heads = heads_of(qkv, s);
    const at::Tensor scores = causal_scores(heads, s);
    const at::Tensor logsumexp = scores.logsumexp(3);
    at::Tensor weights = (scores - logsumexp.unsqueeze(3)).exp();
    if (key.probability > 0) weights = weights * attention_mask(s, key, qkv.options());
    const at::Tensor out = at::matmul(weights, heads.v).transpose(1, 2);  // [b, T, H, d]
    return {out.reshape({s.sequences * s.length, s.heads * s.head_width}).to(stored.scalar_type()), logsumexp};
}

at::Tensor attention_backward(const at::Tensor& dout, const at::Tensor& stored, const at::Tensor& out,
                              const at::Tensor& logsumexp, const AttentionShape& s, const DropoutKey& key) {
    const at::Tensor qkv = wide(stored);
    const Heads heads = heads_of(qkv, s);
    const at::Tensor weights = (causal_scores(heads, s) - logsumexp.unsqueeze(3)).exp();
    const at::Tensor g = by_heads(wide(dout), s);
    at::Tensor dropped = weights;
    at::Tensor dweights = at::matmul(g, heads.v.transpose(2, 3));
    if (key.probability > 0) {
        const at::Tensor mask = attention_mask(s, key, qkv.options());
        dropped = weights * mask;
        dweights = dweights * mask;
    }
    const at::Tensor mean = (g * by_heads(wide(out), s)).sum(3, true);  // Σ_j weights · dweights
    const double scale = 1 / std::sqrt(static_cast<double>(s.head_width));
    const at::Tensor dscores = weights * (dweights - mean) * scale;
    at::Tensor dqkv = at::empty_like(stored);
    const Heads gradients = heads_of(dqkv, s);
    gradients.q.copy_(at::matmul(dscores, heads.k));
    gradients.k.copy_(at::matmul(dscores.transpose(2, 3), heads.q));
    gradients.v.copy_(at::matmul(dropped.transpose(2, 3), g));
    return dqkv;
}

namespace {

struct Local {
    at::Tensor index;   // row of the shard, 0 where the token lies elsewhere
    at::Tensor inside;  // bool
};

Local local_rows(const at::Tensor& tokens, std::int64_t first, std::int64_t count) {
    const at::Tensor shifted = tokens - first;
    const at::Tensor inside = shifted.ge(0).logical_and(shifted.lt(count));
    return {shifted.masked_fill(inside.logical_not(), 0), inside};
}

}  // namespace

at::Tensor embed_tokens(const at::Tensor& tokens, const at::Tensor& table, std::int64_t first) {
    const auto [index, inside] = local_rows(tokens, first, table.size(0));
    return table.index_select(0, index).masked_fill(inside.logical_not().unsqueeze(1), 0);
}

void accumulate_token_gradient(const at::Tensor& dtable, const at::Tensor& dy, const at::Tensor& tokens,
                               std::int64_t first) {
    const auto [index, inside] = local_rows(tokens, first, dtable.size(0));
    dtable.index_add_(0, index, wide(dy).masked_fill(inside.logical_not().unsqueeze(1), 0));
}

void accumulate_position_gradient(const at::Tensor& dtable, const at::Tensor& dy, std::int64_t sequences,
                                  std::int64_t length) {
    at::Tensor rows = dtable.narrow(0, 0, length);
    for (std::int64_t s = 0; s < sequences; ++s) rows.add_(wide(dy.narrow(0, s * length, length)));
}

at::Tensor row_maxima(const at::Tensor& logits, std::int64_t valid) {
    if (valid == 0) return at::full({logits.size(0)}, -std::numeric_limits<double>::infinity(), logits.options());
    return logits.narrow(1, 0, valid).amax(1);
}

at::Tensor exponential_sums(const at::Tensor& logits, const at::Tensor& maxima, const at::Tensor& targets,
                            std::int64_t first, std::int64_t valid) {
    const auto [index, inside] = local_rows(targets, first, valid);
    const at::Tensor target = logits.gather(1, index.unsqueeze(1)).squeeze(1) - maxima;
    at::Tensor used = logits.narrow(1, 0, valid);
    used.sub_(maxima.unsqueeze(1)).exp_();
    logits.narrow(1, valid, logits.size(1) - valid).zero_();
    return at::stack({used.sum(1), target.masked_fill(inside.logical_not(), 0)});
}

void cross_entropy_gradient(const at::Tensor& exponentials, const at::Tensor& sums, const at::Tensor& targets,
                            std::int64_t first, double scale) {
    const auto [index, inside] = local_rows(targets, first, exponentials.size(1));
    exponentials.mul_((scale / sums[0]).unsqueeze(1));
    exponentials.scatter_add_(1, index.unsqueeze(1), (inside.to(exponentials.dtype()) * -scale).unsqueeze(1));
}

double cross_entropy_sum(const at::Tensor& sums) {
    const at::Tensor exact = sums.to(at::kDouble);
    return (exact[0].log() - exact[1]).sum().item<double>();
}

}  // namespace smp::models::kernels::aten
