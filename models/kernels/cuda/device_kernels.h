// The operators of kernels.h that are kernels of our own on CUDA, on raw pointers to device memory: same contracts,
// but what they return is given. Matrices are [rows, width], row after row; all elements of one call lie in one storage
// unless their type says otherwise. `stream` is a cudaStream_t of the current device.
//
// All are asynchronous and give the same bits in every run: each sum has one order. They throw std::runtime_error where
// a kernel cannot be started, and std::logic_error in a build without CUDA. No LibTorch header.
#pragma once

#include <cstdint>

#include "models/kernels/dropout_mask.h"
#include "models/kernels/product.h"
#include "models/kernels/storage.h"

namespace smp::models::kernels::cuda {

struct Matrix {
    std::int64_t rows = 0, width = 0;
};

void layer_norm(Elements y, float* mean, float* rstd, ConstElements x, ConstElements gain, ConstElements bias,
                Matrix shape, double epsilon, void* stream);
/// `residual` may be null.
void layer_norm_backward_input(Elements dx, ConstElements dy, ConstElements x, const float* mean, const float* rstd,
                               ConstElements gain, ConstElements residual, Matrix shape, void* stream);
void layer_norm_backward_weight(float* dgain, float* dbias, ConstElements dy, ConstElements x, const float* mean,
                                const float* rstd, Matrix shape, void* stream);

/// The product of product.h by cuBLAS: sums in fp32, rounded once, in an order that cuBLAS chooses by shape and device.
/// Both operands in one storage, dimensions and strides below 2^31, no Start::bias: fill_rows puts the bias into c, and
/// Start::sum adds to it, in 16 bits too.
void multiply(const Product& product, void* stream);
/// Each row of y [rows, width] = bias [width].
void fill_rows(Elements y, ConstElements bias, Matrix shape, void* stream);

/// Rows of dy begin `stride` elements apart.
void accumulate_column_sums(float* sums, ConstElements dy, Matrix shape, std::int64_t stride, void* stream);

void gelu(Elements y, ConstElements x, std::int64_t count, void* stream);
/// dx may be dy.
void gelu_backward(Elements dx, ConstElements dy, ConstElements x, std::int64_t count, void* stream);

/// A dropout over rows of the global batch: row n of the matrix is row (first_row + n) % length of sequence
/// first_sequence + (first_row + n) / length.
struct RowDropout {
    DropoutMask mask;
    bool is_on = false;
    std::uint64_t first_sequence = 0;
    std::int64_t length = 1, first_row = 0;
};
/// y = residual + dropout(branch + bias); residual and bias may be null.
void add_residual(Elements y, ConstElements residual, ConstElements branch, ConstElements bias, Matrix shape,
                  const RowDropout& dropout, void* stream);

/// Heads of one rank, of which the first is head `first_head` of all.
struct HeadShape {
    std::int64_t sequences = 0, length = 0, heads = 0, head_width = 0, first_head = 0;
};
/// A dropout of attention weights: DropoutKey says by what an element is named.
struct WeightDropout {
    DropoutMask mask;
    bool is_on = false;
    std::uint64_t first_sequence = 0;
};
/// What attention has kernels for: heads of so many columns, and so many heads, and sequences.
constexpr std::int64_t kWidestHead = 128, kMostInGrid = 65535;
constexpr bool takes_heads(const HeadShape& shape) {
    return shape.head_width <= kWidestHead && shape.heads <= kMostInGrid && shape.sequences <= kMostInGrid;
}
/// qkv [N, 3·H·d] → out [N, H·d] and logsumexp [b, H, T].
void attention(Elements out, float* logsumexp, ConstElements qkv, const HeadShape& shape, const WeightDropout& dropout,
               void* stream);
/// `delta` [b, H, T] is scratch.
void attention_backward(Elements dqkv, float* delta, ConstElements dout, ConstElements qkv, ConstElements out,
                        const float* logsumexp, const HeadShape& shape, const WeightDropout& dropout, void* stream);

/// Sets `bytes` of memory to 0.
void clear(void* data, std::size_t bytes, void* stream);

/// tokens [shape.rows]; the table has `held` rows, tokens `first` and up.
void embed_tokens(Elements out, const std::int64_t* tokens, ConstElements table, Matrix shape, std::int64_t first,
                  std::int64_t held, void* stream);
/// Row i of x += row (first_row + i) % length of the table.
void add_positions(Elements x, ConstElements table, Matrix shape, std::int64_t first_row, std::int64_t length,
                   void* stream);
void accumulate_token_gradient(float* dtable, ConstElements dy, const std::int64_t* tokens, Matrix shape,
                               std::int64_t first, std::int64_t held, void* stream);
/// dy [sequences · length, width].
void accumulate_position_gradient(float* dtable, ConstElements dy, std::int64_t sequences, std::int64_t length,
                                  std::int64_t width, void* stream);

/// Rows of logits begin `stride` elements apart, of which `valid` are none of padding.
struct LogitRows {
    float* data = nullptr;
    std::int64_t rows = 0, width = 0, stride = 0, valid = 0;
};
void row_maxima(float* maxima, LogitRows logits, void* stream);
/// sums [2, rows].
void exponential_sums(float* sums, LogitRows logits, const float* maxima, const std::int64_t* targets,
                      std::int64_t first, void* stream);
/// Stored as `storage` says: of 16 bits, each row from where it began on.
void cross_entropy_gradient(LogitRows exponentials, const float* sums, const std::int64_t* targets, std::int64_t first,
                            double scale, Storage storage, void* stream);
/// *sum += Σ over rows of log(sums[0]) − sums[1], in fp64.
void add_cross_entropy(double* sum, const float* sums, std::int64_t rows, void* stream);

}  // namespace smp::models::kernels::cuda
