#include "models/kernels/cuda/operators.h"

#include <stdexcept>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>

#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/own_kernels.h"

namespace smp::models::kernels::cuda {

namespace {

Matrix matrix(const at::Tensor& x) { return {.rows = x.size(0), .width = x.size(1)}; }
ConstElements maybe(const at::Tensor& x, Storage storage) {
    return x.defined() ? elements(x) : ConstElements{nullptr, storage};
}
at::Tensor fp32(at::IntArrayRef shape, const at::Tensor& like) {
    return at::empty(shape, like.options().dtype(at::kFloat));
}

MatrixView view(const at::Tensor& x) { return {x.const_data_ptr(), x.stride(0), x.stride(1), storage_of(x)}; }
MatrixView transposed(const at::Tensor& x) { return {x.const_data_ptr(), x.stride(1), x.stride(0), storage_of(x)}; }
/// c = a · b over `k` terms.
Product product(const MatrixView& a, const MatrixView& b, const at::Tensor& c, Start start, std::int64_t k) {
    return {.m = c.size(0),
            .n = c.size(1),
            .k = k,
            .a = a,
            .b = b,
            .c = c.mutable_data_ptr(),
            .c_stride = c.stride(0),
            .c_storage = storage_of(c),
            .start = start};
}

RowDropout row_dropout(const DropoutKey& key) {
    if (key.probability == 0) return {};
    return {.mask = dropout_mask(key),
            .is_on = true,
            .first_sequence = static_cast<std::uint64_t>(key.first_sequence),
            .length = key.length,
            .first_row = key.first_row};
}

HeadShape head_shape(const AttentionShape& s) {
    return {.sequences = s.sequences,
            .length = s.length,
            .heads = s.heads,
            .head_width = s.head_width,
            .first_head = s.first_head};
}

WeightDropout weight_dropout(const DropoutKey& key) {
    if (key.probability == 0) return {};
    return {.mask = dropout_mask(key), .is_on = true, .first_sequence = static_cast<std::uint64_t>(key.first_sequence)};
}

LogitRows logit_rows(const at::Tensor& logits, std::int64_t valid) {
    return {.data = logits.mutable_data_ptr<float>(),
            .rows = logits.size(0),
            .width = logits.size(1),
            .stride = logits.stride(0),
            .valid = valid};
}

const std::int64_t* integers(const at::Tensor& x) { return x.const_data_ptr<std::int64_t>(); }

}  // namespace

void* stream_of(const at::Tensor& x) {
    if (x.is_cpu()) return nullptr;
    return c10::impl::VirtualGuardImpl(x.device().type()).getStream(x.device()).native_handle();
}

bool takes(const at::Tensor& x) {
    const at::ScalarType type = x.scalar_type();
    return x.is_cuda() && (type == at::kFloat || type == at::kBFloat16 || type == at::kHalf);
}

bool takes_heads(const at::Tensor& qkv, const AttentionShape& shape) {
    if (!takes(qkv)) return false;
    if (!takes_heads(head_shape(shape)))
        throw std::logic_error(fmt::format("attention on CUDA has no kernel for {} sequences with {} heads of {}",
                                           shape.sequences, shape.heads, shape.head_width));
    return true;
}

bool takes(const at::Tensor& x, const at::Tensor& y) {
    if (!takes(x) || !takes(y)) return false;
    if (x.scalar_type() != y.scalar_type())
        throw std::logic_error(fmt::format("a product on CUDA of {} with {}", at::toString(x.scalar_type()),
                                           at::toString(y.scalar_type())));
    return true;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
    at::Tensor y = at::empty({x.size(0), w.size(1)}, w.options());
    if (bias.defined()) fill_rows(mutable_elements(y), elements(bias), matrix(y), stream_of(x));
    multiply(product(view(x), view(w), y, bias.defined() ? Start::sum : Start::zero, x.size(1)), stream_of(x));
    return y;
}

at::Tensor linear_backward_input(const at::Tensor& dy, const at::Tensor& w) {
    at::Tensor dx = at::empty({dy.size(0), w.size(0)}, w.options());
    multiply(product(view(dy), transposed(w), dx, Start::zero, dy.size(1)), stream_of(dy));
    return dx;
}

at::Tensor logits(const at::Tensor& x, const at::Tensor& w) {
    at::Tensor y = fp32({x.size(0), w.size(0)}, x);
    multiply(product(view(x), transposed(w), y, Start::zero, x.size(1)), stream_of(x));
    return y;
}

void linear_backward_weight(const at::Tensor& dw, const at::Tensor& x, const at::Tensor& dy) {
    multiply(product(transposed(x), view(dy), dw, Start::sum, x.size(0)), stream_of(x));
}

void accumulate_column_sums(const at::Tensor& dbias, const at::Tensor& dy) {
    accumulate_column_sums(dbias.mutable_data_ptr<float>(), elements(dy), matrix(dy), dy.stride(0), stream_of(dy));
}

Normalised layer_norm(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& bias, double epsilon) {
    Normalised result{at::empty_like(x), fp32({x.size(0)}, x), fp32({x.size(0)}, x)};
    layer_norm(mutable_elements(result.y), result.mean.mutable_data_ptr<float>(), result.rstd.mutable_data_ptr<float>(),
               elements(x), elements(gain), elements(bias), matrix(x), epsilon, stream_of(x));
    return result;
}

at::Tensor layer_norm_backward_input(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mean,
                                     const at::Tensor& rstd, const at::Tensor& gain, const at::Tensor& residual) {
    at::Tensor dx = at::empty_like(x);
    layer_norm_backward_input(mutable_elements(dx), elements(dy), elements(x), mean.const_data_ptr<float>(),
                              rstd.const_data_ptr<float>(), elements(gain), maybe(residual, storage_of(x)), matrix(x),
                              stream_of(x));
    return dx;
}

void layer_norm_backward_weight(const at::Tensor& dgain, const at::Tensor& dbias, const at::Tensor& dy,
                                const at::Tensor& x, const at::Tensor& mean, const at::Tensor& rstd) {
    layer_norm_backward_weight(dgain.mutable_data_ptr<float>(), dbias.mutable_data_ptr<float>(), elements(dy),
                               elements(x), mean.const_data_ptr<float>(), rstd.const_data_ptr<float>(), matrix(x),
                               stream_of(x));
}

at::Tensor gelu(const at::Tensor& x) {
    at::Tensor y = at::empty_like(x);
    gelu(mutable_elements(y), elements(x), x.numel(), stream_of(x));
    return y;
}

void gelu_backward(const at::Tensor& dy, const at::Tensor& x) {
    gelu_backward(mutable_elements(dy), elements(dy), elements(x), x.numel(), stream_of(x));
}

at::Tensor add_residual(const at::Tensor& residual, const at::Tensor& branch, const at::Tensor& bias,
                        const DropoutKey& key) {
    at::Tensor y = at::empty_like(residual);
    add_residual(mutable_elements(y), elements(residual), elements(branch), maybe(bias, storage_of(branch)),
                 matrix(branch), row_dropout(key), stream_of(branch));
    return y;
}

at::Tensor dropout_backward(const at::Tensor& dy, const DropoutKey& key) {
    if (key.probability == 0) return dy;
    at::Tensor dx = at::empty_like(dy);
    const ConstElements none{nullptr, storage_of(dy)};
    add_residual(mutable_elements(dx), none, elements(dy), none, matrix(dy), row_dropout(key), stream_of(dy));
    return dx;
}

Attended attention(const at::Tensor& qkv, const AttentionShape& s, const DropoutKey& key) {
    Attended result{at::empty({qkv.size(0), s.heads * s.head_width}, qkv.options()),
                    fp32({s.sequences, s.heads, s.length}, qkv)};
    attention(mutable_elements(result.out), result.logsumexp.mutable_data_ptr<float>(), elements(qkv), head_shape(s),
              weight_dropout(key), stream_of(qkv));
    return result;
}

at::Tensor attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                              const at::Tensor& logsumexp, const AttentionShape& s, const DropoutKey& key) {
    at::Tensor dqkv = at::empty_like(qkv), delta = at::empty_like(logsumexp);
    attention_backward(mutable_elements(dqkv), delta.mutable_data_ptr<float>(), elements(dout), elements(qkv),
                       elements(out), logsumexp.const_data_ptr<float>(), head_shape(s), weight_dropout(key),
                       stream_of(qkv));
    return dqkv;
}

at::Tensor embed_tokens(const at::Tensor& tokens, const at::Tensor& table, std::int64_t first) {
    at::Tensor out = at::empty({tokens.numel(), table.size(1)}, table.options());
    embed_tokens(mutable_elements(out), integers(tokens), elements(table), matrix(out), first, table.size(0),
                 stream_of(table));
    return out;
}

void add_positions(const at::Tensor& x, const at::Tensor& table, std::int64_t first_row, std::int64_t length) {
    add_positions(mutable_elements(x), elements(table), matrix(x), first_row, length, stream_of(x));
}

void accumulate_token_gradient(const at::Tensor& dtable, const at::Tensor& dy, const at::Tensor& tokens,
                               std::int64_t first) {
    accumulate_token_gradient(dtable.mutable_data_ptr<float>(), elements(dy), integers(tokens), matrix(dy), first,
                              dtable.size(0), stream_of(dy));
}

void accumulate_position_gradient(const at::Tensor& dtable, const at::Tensor& dy, std::int64_t sequences,
                                  std::int64_t length) {
    accumulate_position_gradient(dtable.mutable_data_ptr<float>(), elements(dy), sequences, length, dy.size(1),
                                 stream_of(dy));
}

at::Tensor row_maxima(const at::Tensor& logits, std::int64_t valid) {
    at::Tensor maxima = fp32({logits.size(0)}, logits);
    row_maxima(maxima.mutable_data_ptr<float>(), logit_rows(logits, valid), stream_of(logits));
    return maxima;
}

at::Tensor exponential_sums(const at::Tensor& logits, const at::Tensor& maxima, const at::Tensor& targets,
                            std::int64_t first, std::int64_t valid) {
    at::Tensor sums = fp32({2, logits.size(0)}, logits);
    exponential_sums(sums.mutable_data_ptr<float>(), logit_rows(logits, valid), maxima.const_data_ptr<float>(),
                     integers(targets), first, stream_of(logits));
    return sums;
}

at::Tensor cross_entropy_gradient(const at::Tensor& exponentials, const at::Tensor& sums, const at::Tensor& targets,
                                  std::int64_t first, double scale, at::ScalarType type) {
    const std::int64_t width = exponentials.size(1);
    const at::Tensor gradient = type == at::kFloat ? exponentials : exponentials.view(type).narrow(1, 0, width);
    cross_entropy_gradient(logit_rows(exponentials, width), sums.const_data_ptr<float>(), integers(targets), first,
                           scale, storage_of(gradient), stream_of(exponentials));
    return gradient;
}

void add_cross_entropy(const at::Tensor& sum, const at::Tensor& sums) {
    add_cross_entropy(sum.mutable_data_ptr<double>(), sums.const_data_ptr<float>(), sums.size(1), stream_of(sums));
}

void clear(const at::Tensor& x) { clear(x.mutable_data_ptr(), x.nbytes(), stream_of(x)); }

}  // namespace smp::models::kernels::cuda
