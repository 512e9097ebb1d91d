// Twins of kernels.h on CUDA, by kernels of our own and cuBLAS (device_kernels.h). Same contracts; the work is queued
// on the current stream.
#pragma once

#include "models/kernels/kernels.h"

namespace smp::models::kernels::cuda {

/// The current stream of a tensor's device; null for the CPU, where tests/cuda_on_host runs these kernels.
void* stream_of(const at::Tensor& x);

/// fp32, bf16 and fp16 on CUDA. (fp64, which no configuration has, takes the ATen twins: tests compare with it.)
bool takes(const at::Tensor& x);
/// Likewise. Throws std::logic_error for heads that there is no kernel for: rules of the model refuse them before
/// (models/device_rules.h), since ATen's operators would hold all scores, which no forecast knows.
bool takes_heads(const at::Tensor& qkv, const AttentionShape& shape);
/// Of both operands: takes(). Throws std::logic_error where they are stored differently.
bool takes(const at::Tensor& x, const at::Tensor& y);

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
void add_positions(const at::Tensor& x, const at::Tensor& table, std::int64_t first_row, std::int64_t length);
void accumulate_token_gradient(const at::Tensor& dtable, const at::Tensor& dy, const at::Tensor& tokens,
                               std::int64_t first);
void accumulate_position_gradient(const at::Tensor& dtable, const at::Tensor& dy, std::int64_t sequences,
                                  std::int64_t length);

at::Tensor row_maxima(const at::Tensor& logits, std::int64_t valid);
at::Tensor exponential_sums(const at::Tensor& logits, const at::Tensor& maxima, const at::Tensor& targets,
                            std::int64_t first, std::int64_t valid);
at::Tensor cross_entropy_gradient(const at::Tensor& exponentials, const at::Tensor& sums, const at::Tensor& targets,
                                  std::int64_t first, double scale, at::ScalarType type);
/// sum [1], fp64 += what kernels::cross_entropy_sum() gives.
void add_cross_entropy(const at::Tensor& sum, const at::Tensor& sums);
void clear(const at::Tensor& x);

}  // namespace smp::models::kernels::cuda
