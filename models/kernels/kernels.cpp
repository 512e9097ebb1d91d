#include "models/kernels/kernels.h"

#include "models/kernels/aten_kernels.h"

namespace smp::models::kernels {

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) { return aten::linear(x, w, bias); }
at::Tensor linear_backward_input(const at::Tensor& dy, const at::Tensor& w) {
    return aten::linear_backward_input(dy, w);
}
void linear_backward_weight(at::Tensor dw, const at::Tensor& x, const at::Tensor& dy) {
    aten::linear_backward_weight(std::move(dw), x, dy);
}
void accumulate_column_sums(at::Tensor dbias, const at::Tensor& dy) {
    aten::accumulate_column_sums(std::move(dbias), dy);
}
Normalised layer_norm(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& bias, double epsilon) {
    return aten::layer_norm(x, gain, bias, epsilon);
}
at::Tensor layer_norm_backward_input(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean,
                                     const at::Tensor& rstd, const at::Tensor& gain, const at::Tensor& residual) {
    return aten::layer_norm_backward_input(dy, x, mean, rstd, gain, residual);
}
void layer_norm_backward_weight(at::Tensor dgain, at::Tensor dbias, const at::Tensor& dy, const at::Tensor& x,
                                const at::Tensor& mean, const at::Tensor& rstd) {
    aten::layer_norm_backward_weight(std::move(dgain), std::move(dbias), dy, x, mean, rstd);
}
at::Tensor gelu(const at::Tensor& x) { return aten::gelu(x); }
void gelu_backward(at::Tensor dy, const at::Tensor& x) { aten::gelu_backward(std::move(dy), x); }
at::Tensor add_residual(const at::Tensor& residual, const at::Tensor& branch, const at::Tensor& bias,
                        const DropoutKey& key) {
    return aten::add_residual(residual, branch, bias, key);
}
at::Tensor dropout_backward(const at::Tensor& dy, const DropoutKey& key) { return aten::dropout_backward(dy, key); }
Attended attention(const at::Tensor& qkv, const AttentionShape& shape, const DropoutKey& key) {
    return aten::attention(qkv, shape, key);
}
at::Tensor attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                              const at::Tensor& logsumexp, const AttentionShape& shape, const DropoutKey& key) {
    return aten::attention_backward(dout, qkv, out, logsumexp, shape, key);
}
at::Tensor embed_tokens(const at::Tensor& tokens, const at::Tensor& table, std::int64_t first) {
    return aten::embed_tokens(tokens, table, first);
}
void accumulate_token_gradient(at::Tensor dtable, const at::Tensor& dy, const at::Tensor& tokens, std::int64_t first) {
    aten::accumulate_token_gradient(std::move(dtable), dy, tokens, first);
}
void accumulate_position_gradient(at::Tensor dtable, const at::Tensor& dy, std::int64_t sequences,
                                  std::int64_t length) {
    aten::accumulate_position_gradient(std::move(dtable), dy, sequences, length);
}
at::Tensor row_maxima(const at::Tensor& logits, std::int64_t valid) { return aten::row_maxima(logits, valid); }
at::Tensor exponential_sums(at::Tensor logits, const at::Tensor& maxima, const at::Tensor& targets, std::int64_t first,
                            std::int64_t valid) {
    return aten::exponential_sums(std::move(logits), maxima, targets, first, valid);
}
void cross_entropy_gradient(at::Tensor exponentials, const at::Tensor& sums, const at::Tensor& targets,
                            std::int64_t first, double scale) {
    aten::cross_entropy_gradient(std::move(exponentials), sums, targets, first, scale);
}
double cross_entropy_sum(const at::Tensor& sums) { return aten::cross_entropy_sum(sums); }

}  // namespace smp::models::kernels
