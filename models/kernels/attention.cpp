#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/cuda/operators.h"
#include "models/kernels/dropout_mask.h"
#include "models/kernels/own_kernels.h"
#include "models/kernels/product.h"
#include "models/kernels/vector_math.h"

// Query rows go in blocks of 64, so that the weights of a block, [64, keys so far], stay in cache and nothing above the
// diagonal is computed but in the block that it crosses. Backward computes the weights again from log-sum-exp, as in
// Dao et al., "FlashAttention" (2022), section 3.1.

namespace smp::models::kernels {

namespace {

constexpr std::int64_t kQueryBlock = 64;

/// scores → e^(scale · score − shift) in place, whose sum is returned. The shift is the row's largest scaled score.
SMP_VECTORISED float softmax_numerators(float* scores, float scale, std::int64_t count, float& shift) {
    float lanes[kLanes];
    for (float& lane : lanes) lane = scores[0];
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
#pragma omp simd
        for (int l = 0; l < kLanes; ++l) lanes[l] = lanes[l] < scores[i + l] ? scores[i + l] : lanes[l];
    float most = scores[0];
    for (; i < count; ++i) most = most < scores[i] ? scores[i] : most;
    for (const float lane : lanes) most = most < lane ? lane : most;
    shift = most * scale;
    const float down = shift;
#pragma omp simd
    for (i = 0; i < count; ++i) scores[i] = exponential(fused(scores[i], scale, -down));
    return vector_sum(count, [&](std::int64_t c) { return scores[c]; });
}

SMP_VECTORISED void multiply_row(float* x, float factor, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) x[i] *= factor;
}

SMP_VECTORISED void multiply_rows(float* x, const float* y, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) x[i] *= y[i];
}

SMP_VECTORISED float dot(const float* x, const float* y, std::int64_t count) {
    return vector_sum(count, [&](std::int64_t i) { return x[i] * y[i]; });
}

/// scores → weights = e^(scale · score − logsumexp), and dweights → dscores = scale · weights · (dweights − mean). With
/// a mask, weights are masked after that, and dweights before.
SMP_VECTORISED void weight_gradients(float* scores, float* dweights, const float* mask, float scale, float logsumexp,
                                     float mean, std::int64_t count) {
    if (mask == nullptr) {
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i) {
            const float weight = exponential(fused(scores[i], scale, -logsumexp));
            scores[i] = weight;
            dweights[i] = (weight * scale) * (dweights[i] - mean);
        }
    } else {
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i) {
            const float weight = exponential(fused(scores[i], scale, -logsumexp));
            scores[i] = weight * mask[i];
            dweights[i] = (weight * scale) * fused(dweights[i], mask[i], -mean);
        }
    }
}

/// One head of one sequence: its q, k, v (or their gradients) in the side-by-side layout, and what keys its dropout.
struct Head {
    std::int64_t sequence = 0, head = 0;
    std::int64_t length = 0, width = 0;
    std::int64_t qkv_offset = 0, qkv_stride = 0;  // of q; k and v follow at part and 2 · part
    std::int64_t part = 0;
    std::int64_t out_offset = 0, out_stride = 0;
    std::uint64_t global_sequence = 0;
    std::uint32_t first_mask_row = 0;
};

template <class F>
void for_heads(const AttentionShape& s, const DropoutKey& key, const F& f) {
    at::parallel_for(0, s.sequences * s.heads, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t sequence = i / s.heads, head = i % s.heads, part = s.heads * s.head_width;
            f(Head{.sequence = sequence,
                   .head = head,
                   .length = s.length,
                   .width = s.head_width,
                   .qkv_offset = sequence * s.length * 3 * part + head * s.head_width,
                   .qkv_stride = 3 * part,
                   .part = part,
                   .out_offset = sequence * s.length * part + head * s.head_width,
                   .out_stride = part,
                   .global_sequence = static_cast<std::uint64_t>(key.first_sequence + sequence),
                   .first_mask_row = static_cast<std::uint32_t>((s.first_head + head) * s.length)});
        }
    });
}

/// Rows × keys, row-major, with `keys` as stride.
MatrixView rows(const float* data, std::int64_t stride) { return {data, stride, 1}; }
MatrixView columns(const float* data, std::int64_t stride) { return {data, 1, stride}; }

struct Setting {
    float scale = 1;
    bool drops = false;
    DropoutMask dropout;
};

Setting setting(const AttentionShape& shape, const DropoutKey& key) {
    return {.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_width))),
            .drops = key.probability > 0,
            .dropout = dropout_mask(key)};
}

void forward_head(const Head& h, const Setting& setting, const float* qkv, float* out, float* logsumexp) {
    const float *q = qkv + h.qkv_offset, *k = q + h.part, *v = k + h.part;
    std::vector<float> weights(static_cast<std::size_t>(std::min(kQueryBlock, h.length) * h.length));
    std::vector<float> mask(static_cast<std::size_t>(setting.drops ? h.length : 0));
    for (std::int64_t first = 0; first < h.length; first += kQueryBlock) {
        const std::int64_t count = std::min(kQueryBlock, h.length - first), keys = first + count;
        multiply({.m = count,
                  .n = keys,
                  .k = h.width,
                  .a = rows(q + first * h.qkv_stride, h.qkv_stride),
                  .b = columns(k, h.qkv_stride),
                  .c = weights.data(),
                  .c_stride = keys});
        for (std::int64_t i = 0; i < count; ++i) {
            float* row = weights.data() + i * keys;
            const std::int64_t seen = first + i + 1;
            float shift = 0;
            const float sum = softmax_numerators(row, setting.scale, seen, shift);
            logsumexp[first + i] = shift + std::log(sum);
            multiply_row(row, 1 / sum, seen);
            std::fill(row + seen, row + keys, 0.0F);
            if (setting.drops) {
                fill_dropout_row(mask.data(), setting.dropout, h.global_sequence,
                                 h.first_mask_row + static_cast<std::uint32_t>(first + i), seen);
                multiply_rows(row, mask.data(), seen);
            }
        }
        multiply({.m = count,
                  .n = h.width,
                  .k = keys,
                  .a = rows(weights.data(), keys),
                  .b = rows(v, h.qkv_stride),
                  .c = out + h.out_offset + first * h.out_stride,
                  .c_stride = h.out_stride});
    }
}

/// x̄ [keys, width] += gᵀ · y for the keys before this block, x̄ = … for those in it: query blocks come in ascending
/// order.
void add_key_gradient(float* dx, const float* g, const float* y, std::int64_t y_stride, const Head& h,
                      std::int64_t first, std::int64_t count) {
    const std::int64_t keys = first + count;
    Product product{.m = first,
                    .n = h.width,
                    .k = count,
                    .a = columns(g, keys),
                    .b = rows(y, y_stride),
                    .c = dx,
                    .c_stride = h.qkv_stride,
                    .start = Start::sum};
    if (first > 0) multiply(product);
    product.m = count;
    product.a = columns(g + first, keys);
    product.c = dx + first * h.qkv_stride;
    product.start = Start::zero;
    multiply(product);
}

void backward_head(const Head& h, const Setting& setting, const float* dout, const float* qkv, const float* out,
                   const float* logsumexp, float* dqkv) {
    const float *q = qkv + h.qkv_offset, *k = q + h.part, *v = k + h.part;
    float *dq = dqkv + h.qkv_offset, *dk = dq + h.part, *dv = dk + h.part;
    const auto block = static_cast<std::size_t>(std::min(kQueryBlock, h.length) * h.length);
    std::vector<float> weights(block), dweights(block);
    std::vector<float> mask(static_cast<std::size_t>(setting.drops ? h.length : 0));
    for (std::int64_t first = 0; first < h.length; first += kQueryBlock) {
        const std::int64_t count = std::min(kQueryBlock, h.length - first), keys = first + count;
        const float *q_rows = q + first * h.qkv_stride, *g_rows = dout + h.out_offset + first * h.out_stride;
        Product product{.m = count,
                        .n = keys,
                        .k = h.width,
                        .a = rows(q_rows, h.qkv_stride),
                        .b = columns(k, h.qkv_stride),
                        .c = weights.data(),
                        .c_stride = keys};
        multiply(product);
        product.a = rows(g_rows, h.out_stride);
        product.b = columns(v, h.qkv_stride);
        product.c = dweights.data();
        multiply(product);
        for (std::int64_t i = 0; i < count; ++i) {
            float *row = weights.data() + i * keys, *gradient = dweights.data() + i * keys;
            const std::int64_t seen = first + i + 1;
            // Σ_j weights · dweights, which is also this.
            const float mean = dot(g_rows + i * h.out_stride, out + h.out_offset + (first + i) * h.out_stride, h.width);
            if (setting.drops)
                fill_dropout_row(mask.data(), setting.dropout, h.global_sequence,
                                 h.first_mask_row + static_cast<std::uint32_t>(first + i), seen);
            weight_gradients(row, gradient, setting.drops ? mask.data() : nullptr, setting.scale, logsumexp[first + i],
                             mean, seen);
            std::fill(row + seen, row + keys, 0.0F);
            std::fill(gradient + seen, gradient + keys, 0.0F);
        }
        multiply({.m = count,
                  .n = h.width,
                  .k = keys,
                  .a = rows(dweights.data(), keys),
                  .b = rows(k, h.qkv_stride),
                  .c = dq + first * h.qkv_stride,
                  .c_stride = h.qkv_stride});
        add_key_gradient(dk, dweights.data(), q_rows, h.qkv_stride, h, first, count);
        add_key_gradient(dv, weights.data(), g_rows, h.out_stride, h, first, count);
    }
}

/// 16-bit tensors: the q, k, v of one head in fp32, each [T, d], and the same head as it lies there.
class WideHead {
  public:
    explicit WideHead(const Head& narrow)
        : narrow_(narrow), head_(narrow), size_(static_cast<std::size_t>(narrow.length * narrow.width)) {
        head_.qkv_offset = head_.out_offset = 0;
        head_.qkv_stride = head_.out_stride = narrow.width;
        head_.part = narrow.length * narrow.width;
    }

    const Head& head() const { return head_; }
    std::vector<float> empty_qkv() const { return std::vector<float>(3 * size_); }
    std::vector<float> empty_out() const { return std::vector<float>(size_); }
    std::vector<float> load_qkv(ConstElements qkv) const {
        std::vector<float> wide = empty_qkv();
        for (std::int64_t i = 0; i < 3; ++i)
            load(wide.data() + i * head_.part, head_.width, qkv.from(narrow_.qkv_offset + i * narrow_.part),
                 narrow_.qkv_stride, patch());
        return wide;
    }
    void store_qkv(Elements qkv, const std::vector<float>& wide) const {
        for (std::int64_t i = 0; i < 3; ++i)
            store(qkv.from(narrow_.qkv_offset + i * narrow_.part), narrow_.qkv_stride, wide.data() + i * head_.part,
                  head_.width, patch());
    }
    std::vector<float> load_out(ConstElements out) const {
        std::vector<float> wide = empty_out();
        load(wide.data(), head_.width, out.from(narrow_.out_offset), narrow_.out_stride, patch());
        return wide;
    }
    void store_out(Elements out, const std::vector<float>& wide) const {
        store(out.from(narrow_.out_offset), narrow_.out_stride, wide.data(), head_.width, patch());
    }

  private:
    Patch patch() const { return {.rows = head_.length, .columns = head_.width}; }

    Head narrow_, head_;
    std::size_t size_;
};

}  // namespace

Attended attention(const at::Tensor& qkv, const AttentionShape& shape, const DropoutKey& key) {
    if (cuda::takes_heads(qkv, shape)) return cuda::attention(qkv, shape, key);
    if (!takes(qkv)) return aten::attention(qkv, shape, key);
    const std::int64_t tokens = shape.sequences * shape.length;
    Attended result{at::empty({tokens, shape.heads * shape.head_width}, qkv.options()),
                    at::empty({shape.sequences, shape.heads, shape.length}, qkv.options().dtype(at::kFloat))};
    const ConstElements from = elements(qkv);
    const Elements to = mutable_elements(result.out);
    float* logsumexp = result.logsumexp.mutable_data_ptr<float>();
    const Setting chosen = setting(shape, key);
    for_heads(shape, key, [&](const Head& h) {
        float* own_sums = logsumexp + (h.sequence * shape.heads + h.head) * h.length;
        if (from.storage == Storage::fp32) return forward_head(h, chosen, from.fp32(), to.fp32(), own_sums);
        const WideHead wide(h);
        std::vector<float> out = wide.empty_out();
        forward_head(wide.head(), chosen, wide.load_qkv(from).data(), out.data(), own_sums);
        wide.store_out(to, out);
    });
    return result;
}

at::Tensor attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                              const at::Tensor& logsumexp, const AttentionShape& shape, const DropoutKey& key) {
    if (cuda::takes_heads(qkv, shape)) return cuda::attention_backward(dout, qkv, out, logsumexp, shape, key);
    if (!takes(qkv)) return aten::attention_backward(dout, qkv, out, logsumexp, shape, key);
    at::Tensor dqkv = at::empty_like(qkv);
    const Elements to = mutable_elements(dqkv);
    const ConstElements up = elements(dout), from = elements(qkv), attended = elements(out);
    const float* sums = logsumexp.const_data_ptr<float>();
    const Setting chosen = setting(shape, key);
    for_heads(shape, key, [&](const Head& h) {
        const float* own_sums = sums + (h.sequence * shape.heads + h.head) * h.length;
        if (from.storage == Storage::fp32)
            return backward_head(h, chosen, up.fp32(), from.fp32(), attended.fp32(), own_sums, to.fp32());
        const WideHead wide(h);
        std::vector<float> gradient = wide.empty_qkv();
        backward_head(wide.head(), chosen, wide.load_out(up).data(), wide.load_qkv(from).data(),
                      wide.load_out(attended).data(), own_sums, gradient.data());
        wide.store_qkv(to, gradient);
    });
    return dqkv;
}

}  // namespace smp::models::kernels
