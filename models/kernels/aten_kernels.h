// Twins of kernels.h in ATen operators: any floating dtype, CPU and CUDA. They are what CUDA tensors take where cuda/
// has no kernel, and fp64 everywhere, and the oracle of the tests. Same contracts, but bits may depend on the number of
// threads. 16-bit operands are widened as a whole, which is plain and not fast.
#pragma once

#include "models/kernels/kernels.h"

namespace smp::models::kernels::aten {

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias);
at::Tensor linear_backward_input(const at::Tensor& dy, const at::Tensor& w);
at::Tensor logits(const at::Tensor& x, const at::Tensor& w);
void linear_backward_weight(const at::Tensor& dw, const at::Tensor& x, const at::Tensor& dy);
void accumulate_column_sums(const at::Tensor& dbias, const at::Tensor& dy);

Normalised layer_norm(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& bias, double epsilon);
at::Tensor layer_norm_backward_input(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean,
                                     const at::Tensor& rstd, const at::Tensor& gain, const at::Tensor& residual);
void layer_norm_backward_weight(const at::Tensor& dgain, const at::Tensor& dbias, const at::Tensor& dy,
                                const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd);

at::Tensor gelu(const at::Tensor& x);
void gelu_backward(const at::Tensor& dy, const at::Tensor& x);

at::Tensor add_residual(const at::Tensor& residual, const at::Tensor& branch, const at::Tensor& bias,
                        const DropoutKey& key);
at::Tensor dropout_backward(const at::Tensor& dy, const DropoutKey& key);

Attended attention(const at::Tensor& qkv, const AttentionShape& shape, const DropoutKey& key);
at::Tensor attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                              const at::Tensor& logsumexp, const AttentionShape& shape, const DropoutKey& key);

at::Tensor embed_tokens(const at::Tensor& tokens, const at::Tensor& table, std::int64_t first);
void accumulate_token_gradient(const at::Tensor& dtable, const at::Tensor& dy, const at::Tensor& tokens,
                               std::int64_t first);
void accumulate_position_gradient(const at::Tensor& dtable, const at::Tensor& dy, std::int64_t sequences,
                                  std::int64_t length);

at::Tensor row_maxima(const at::Tensor& logits, std::int64_t valid);
at::Tensor exponential_sums(const at::Tensor& logits, const at::Tensor& maxima, const at::Tensor& targets,
                            std::int64_t first, std::int64_t valid);
void cross_entropy_gradient(const at::Tensor& exponentials, const at::Tensor& sums, const at::Tensor& targets,
                            std::int64_t first, double scale);
double cross_entropy_sum(const at::Tensor& sums);

/// The mask of a dropout over [sequences · rows, columns] as a tensor: scale or 0; rows counted from `first_row` in
/// each sequence.
at::Tensor dropout_mask_tensor(const DropoutKey& key, std::int64_t sequences, std::int64_t first_row, std::int64_t rows,
                               std::int64_t columns, const at::TensorOptions& options);

}  // namespace smp::models::kernels::aten
