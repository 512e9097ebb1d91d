// The operators of GPT-2's segments. Tensors are contiguous, on one device; matrices of linear layers
// and logits may have strided rows. N = b·T rows (tokens), h = hidden width, H = heads on this rank, d = head width.
// [n] after an argument: its shape.
//
// Values, activations and their gradients are all in one of fp32, bf16 and fp16; gradients of parameters, statistics,
// logits and what is made of them are fp32 always (in fp64, which oracles use, everything is). 16 bits are a way of
// storing: an operator computes in fp32 from the stored numbers and rounds to nearest even once, when it stores what it
// returns. One exception: tensor cores, which attention takes on CUDA for heads of 8, 16, … 128 columns of 16 bits,
// want both factors of a product in 16 bits, so that its weights and the gradients of its scores are rounded too.
//
// On the CPU, these take our own kernels: an operator gives the same bits for any number of intra-op threads, any
// alignment, and on any x86-64 processor with AVX2 and FMA, since work is cut into fixed blocks and sums run in a fixed
// order. A row of a product or of a row-wise operator even has the same bits in any number of rows. CUDA tensors take
// CUDA kernels of our own and cuBLAS (cuda/), with the same bits in every run of a shape; other dtypes and mixed
// operands of a product take ATen's operators (aten_kernels.h), whose bits are ATen's. All operators are local; they
// allocate what they return and, but for small scratch, nothing else. A tensor that an operator changes comes first; it
// is a handle, so that a const reference to it does.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "models/kernels/dropout_key.h"

namespace smp::models::kernels {

// --- linear layers; weights lie as Hugging Face's Conv1D does: [in, out]
// -----------------------------------------------------------------------------------
/// y [N, out] = x [N, in] · w [in, out] + bias [out] (bias may be undefined). y has w's dtype; x may be fp32 beside
/// a 16-bit w.
at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias);
/// x̄ [N, in] = ȳ [N, out] · wᵀ.
at::Tensor linear_backward_input(const at::Tensor& dy, const at::Tensor& w);
/// The same product in fp32, for a weight [V', h] that lies as [out, in]: rows x [n, h] → logits [n, V'].
at::Tensor logits(const at::Tensor& x, const at::Tensor& w);
/// w̄ [in, out] += xᵀ [in, N] · ȳ [N, out]. x may be fp32 beside a 16-bit ȳ.
void linear_backward_weight(const at::Tensor& dw, const at::Tensor& x, const at::Tensor& dy);
/// bias̄ [out] += column sums of ȳ [N, out].
void accumulate_column_sums(const at::Tensor& dbias, const at::Tensor& dy);

// --- layer normalisation; statistics in fp32
// ---------------------------------------------------------------------------------------------------------------
struct Normalised {
    at::Tensor y;     // [N, h]
    at::Tensor mean;  // [N]
    at::Tensor rstd;  // [N]
};
Normalised layer_norm(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& bias, double epsilon);
/// x̄ [N, h], added to `residual` [N, h] where that is defined (the gradient that by-passes the normalisation).
at::Tensor layer_norm_backward_input(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean,
                                     const at::Tensor& rstd, const at::Tensor& gain, const at::Tensor& residual);
/// gain̅ [h], bias̅ [h] += …
void layer_norm_backward_weight(const at::Tensor& dgain, const at::Tensor& dbias, const at::Tensor& dy,
                                const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd);

// --- GELU, tanh form (`gelu_new`)
// --------------------------------------------------------------------------------------------------------------------------
at::Tensor gelu(const at::Tensor& x);
/// ȳ is overwritten by x̄.
void gelu_backward(const at::Tensor& dy, const at::Tensor& x);

// --- residual stream
// -----------------------------------------------------------------------------------------------------------------------------------------
/// residual [N, h] + dropout(branch [N, h] + bias [h]); bias may be undefined; `key.probability` 0 means no dropout.
/// Element index of the key: see DropoutKey.
at::Tensor add_residual(const at::Tensor& residual, const at::Tensor& branch, const at::Tensor& bias,
                        const DropoutKey& key);
/// Gradient through that dropout: ȳ · mask / (1 − p); where p = 0 ȳ itself, not a copy.
at::Tensor dropout_backward(const at::Tensor& dy, const DropoutKey& key);

// --- causal attention
// ----------------------------------------------------------------------------------------------------------------------------------------
struct AttentionShape {
    std::int64_t sequences = 0, length = 0, heads = 0, head_width = 0;
    std::int64_t first_head = 0;  // global index of this rank's first head: keys dropout
};
struct Attended {
    at::Tensor out;        // [N, H·d]
    at::Tensor logsumexp;  // [b, H, T]
};
/// qkv [N, 3·H·d]: q, k and v side by side, each head by head. Scale 1/√d.
Attended attention(const at::Tensor& qkv, const AttentionShape& shape, const DropoutKey& key);
/// → gradient of qkv [N, 3·H·d].
at::Tensor attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                              const at::Tensor& logsumexp, const AttentionShape& shape, const DropoutKey& key);

// --- embedding
// -------------------------------------------------------------------------------------------------------------------------------------------------
/// rows [first, first + V') of the token table only (vocabulary shard): out [N, h], zeros for tokens outside it. tokens
/// int64 [N].
at::Tensor embed_tokens(const at::Tensor& tokens, const at::Tensor& table, std::int64_t first);
/// x [n, h] += rows of the position table: row i is row first_row + i of sequences of `length` tokens.
void add_positions(const at::Tensor& x, const at::Tensor& table, std::int64_t first_row, std::int64_t length);
/// table̅ += rows of ȳ, in ascending order of N for each token.
void accumulate_token_gradient(const at::Tensor& dtable, const at::Tensor& dy, const at::Tensor& tokens,
                               std::int64_t first);
/// position table̅ [T.., h] += sum over sequences of ȳ [b·T, h], ascending.
void accumulate_position_gradient(const at::Tensor& dtable, const at::Tensor& dy, std::int64_t sequences,
                                  std::int64_t length);

// --- vocabulary-parallel cross-entropy, over one chunk of rows; logits [n, V'] of this rank's rows [first, first+V'),
// of which the last V' − valid are padding ---
/// Row maxima [n] over valid columns.
at::Tensor row_maxima(const at::Tensor& logits, std::int64_t valid);
/// sums [2, n]: row 0 = Σ exp(logit − max) over valid columns, row 1 = logit of the target − max where the target lies
/// here, else 0. logits are overwritten by exp(logit − max) (0 in padding).
at::Tensor exponential_sums(const at::Tensor& logits, const at::Tensor& maxima, const at::Tensor& targets,
                            std::int64_t first, std::int64_t valid);
/// logits (now exponentials) → scale · (softmax − onehot(target)), in place. `sums` as above, summed over the tensor
/// group. The result, for the products that follow, is the same tensor; on CUDA it is rounded to `type`, that of the
/// weights, since products there take one type, and is a view of the same memory.
at::Tensor cross_entropy_gradient(const at::Tensor& exponentials, const at::Tensor& sums, const at::Tensor& targets,
                                  std::int64_t first, double scale, at::ScalarType type);
/// Σ over rows of log(sums[0]) − sums[1], in fp64, in a fixed order. On CUDA it waits for the stream.
double cross_entropy_sum(const at::Tensor& sums);
/// sum [1], fp64, += the same: on CUDA without a wait.
void add_cross_entropy(const at::Tensor& sum, const at::Tensor& sums);

/// Sets a contiguous tensor to zeros: on CUDA by the driver, without a kernel.
void clear(const at::Tensor& x);
/// A new one of zeros.
at::Tensor zeros(at::IntArrayRef shape, const at::TensorOptions& options);

}  // namespace smp::models::kernels
