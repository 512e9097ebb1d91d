// Each operator against its ATen formula in fp64, and its bits for any number of threads and any alignment.
#include "models/kernels/kernels.h"

#include <cmath>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "models/kernels/aten_kernels.h"

namespace smp::models::kernels {
namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

Tensor random(at::IntArrayRef shape, double deviation = 1) {
    return at::randn(shape, at::TensorOptions().dtype(at::kFloat)) * deviation;
}

Tensor tokens(std::int64_t count, std::int64_t vocabulary) {
    return at::randint(vocabulary, {count}, at::TensorOptions().dtype(at::kLong));
}

/// What an operator is, as a function from its inputs to all that it computes: run in fp32 (own) and in fp64 (ATen).
using Operator = std::function<Tensors(const Tensors&)>;

/// A copy that begins `offset` elements into its storage.
Tensor shifted(const Tensor& x, std::int64_t offset) {
    Tensor copy = at::empty({x.numel() + offset}, x.options()).narrow(0, offset, x.numel()).view(x.sizes());
    return copy.copy_(x);
}

Tensors run(const Operator& f, const Tensors& inputs, int threads, std::int64_t offset) {
    Tensors placed, outputs;
    for (const Tensor& input : inputs) placed.push_back(input.defined() ? shifted(input, offset) : input);
    std::thread([&] {
        at::set_num_threads(threads);
        outputs = f(placed);
    }).join();
    return outputs;
}

/// `tolerance`: of the largest difference, in units of 2^-24 times the largest exact value; each use says why.
void check(const std::string& name, const Operator& f, const Tensors& inputs, double tolerance) {
    const Tensors own = run(f, inputs, 1, 0);
    Tensors doubles;
    for (const Tensor& input : inputs)
        doubles.push_back(input.defined() && input.is_floating_point() ? input.to(at::kDouble) : input);
    const Tensors exact = f(doubles);
    ASSERT_EQ(own.size(), exact.size());
    for (std::size_t i = 0; i < own.size(); ++i) {
        ASSERT_EQ(own[i].sizes(), exact[i].sizes()) << name << ", output " << i;
        ASSERT_EQ(own[i].scalar_type(), at::kFloat) << name << ", output " << i;
        ASSERT_EQ(exact[i].scalar_type(), at::kDouble) << name << ", output " << i;
        if (own[i].numel() == 0) continue;
        const double most = exact[i].abs().max().item<double>();
        const double error = (own[i].to(at::kDouble) - exact[i]).abs().max().item<double>();
        EXPECT_LE(error, tolerance * std::ldexp(most, -24))  // not NaN either
            << name << ", output " << i << ": " << error / std::ldexp(most, -24) << " units";
    }
    struct Way {
        int threads;
        std::int64_t offset;
    };
    for (const auto& [threads, offset] : {Way{1, 1}, Way{2, 6}, Way{3, 0}}) {
        const Tensors again = run(f, inputs, threads, offset);
        for (std::size_t i = 0; i < own.size(); ++i)
            EXPECT_TRUE(own[i].equal(again[i])) << name << ", output " << i << ": other bits with " << threads
                                                << " threads and operands " << offset << " elements off";
    }
}

class Kernels : public testing::Test {
  protected:
    void SetUp() override { at::manual_seed(1); }
};

struct Sizes {
    std::int64_t rows, in, out;
};
const std::vector<Sizes> kSizes = {{256, 256, 320}, {256, 64, 126}, {40, 48, 192}, {80, 192, 48},
                                   {1, 64, 64},     {7, 33, 503},   {130, 5, 1},   {257, 300, 77}};

// Chains of at most 256 terms: an error of 256 units of the sum of absolute values at most, which is below 10 times the
// largest sum here; typically √256.
constexpr double kProduct = 100;

TEST_F(Kernels, Linear) {
    for (const auto& [rows, in, out] : kSizes) {
        check(
            "linear", [](const Tensors& x) { return Tensors{kernels::linear(x[0], x[1], x[2])}; },
            {random({rows, in}), random({in, out}), random({out})}, kProduct);
        check(
            "linear without bias", [](const Tensors& x) { return Tensors{kernels::linear(x[0], x[1], Tensor())}; },
            {random({rows, in}), random({in, out})}, kProduct);
        check(
            "linear_backward_input",
            [](const Tensors& x) { return Tensors{kernels::linear_backward_input(x[0], x[1])}; },
            {random({rows, out}), random({in, out})}, kProduct);
        check(
            "linear_backward_weight",
            [](const Tensors& x) {
                const Tensor dw = x[0].clone();
                kernels::linear_backward_weight(dw, x[1], x[2]);
                return Tensors{dw};
            },
            {random({in, out}), random({rows, in}), random({rows, out})}, kProduct);
        check(
            "accumulate_column_sums",
            [](const Tensors& x) {
                const Tensor dbias = x[0].clone();
                accumulate_column_sums(dbias, x[1]);
                return Tensors{dbias};
            },
            {random({out}), random({rows, out})}, kProduct);
    }
}

// Rows of a wider matrix, as one piece of a flat gradient or a slice of columns is.
TEST_F(Kernels, LinearTakesStridedRows) {
    const Tensor x = random({20, 40}).narrow(1, 3, 30), w = random({30, 50}).narrow(1, 8, 16);
    const Tensor dw = random({30, 50}).narrow(1, 8, 16), dy = random({20, 20}).narrow(1, 1, 16);
    EXPECT_TRUE(kernels::linear(x, w, Tensor()).equal(kernels::linear(x.contiguous(), w.contiguous(), Tensor())));
    EXPECT_TRUE(
        kernels::linear_backward_input(dy, w).equal(kernels::linear_backward_input(dy.contiguous(), w.contiguous())));
    const Tensor plain = dw.clone();
    kernels::linear_backward_weight(plain, x.contiguous(), dy.contiguous());
    kernels::linear_backward_weight(dw, x, dy);
    EXPECT_TRUE(dw.equal(plain));
    const Tensor sums = at::zeros({16}), plain_sums = at::zeros({16});
    accumulate_column_sums(sums, dy);
    accumulate_column_sums(plain_sums, dy.contiguous());
    EXPECT_TRUE(sums.equal(plain_sums));
}

TEST_F(Kernels, LayerNorm) {
    for (const auto& [rows, width] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {200, 512}, {40, 48}, {3, 64}, {1, 16}, {130, 1000}, {65, 17}, {5, 1}}) {
        // A mean of the size of the deviation costs a factor of about 2 by cancellation; sums run in 16 lanes.
        const Tensor x = random({rows, width}) + 0.5;
        check(
            "layer_norm",
            [](const Tensors& t) {
                auto [y, mean, rstd] = kernels::layer_norm(t[0], t[1], t[2], 1e-5);
                return Tensors{y, mean, rstd};
            },
            {x, random({width}), random({width})}, 100);
        if (width == 1) continue;  // its gradient is 0, of which no error is a share
        const auto normal = kernels::layer_norm(x, at::ones({width}), at::zeros({width}), 1e-5);
        for (const Tensor& residual : {Tensor(), random({rows, width})})
            check(
                "layer_norm_backward_input",
                [](const Tensors& t) { return Tensors{layer_norm_backward_input(t[0], t[1], t[2], t[3], t[4], t[5])}; },
                {random({rows, width}), x, normal.mean, normal.rstd, random({width}), residual}, 100);
        check(
            "layer_norm_backward_weight",
            [](const Tensors& t) {
                const Tensor dgain = t[0].clone(), dbias = t[1].clone();
                layer_norm_backward_weight(dgain, dbias, t[2], t[3], t[4], t[5]);
                return Tensors{dgain, dbias};
            },
            {random({width}), random({width}), random({rows, width}), x, normal.mean, normal.rstd}, 100);
    }
}

// The tanh form: a few roundings in u, of which e^(−2u) shows |2u| ≤ 20 times as many.
TEST_F(Kernels, Gelu) {
    for (const std::int64_t count : {1, 15, 16, 100, 40000}) {
        const Tensor x = random({count}, 2);
        check(
            "gelu", [](const Tensors& t) { return Tensors{kernels::gelu(t[0])}; }, {x}, 20);
        check(
            "gelu_backward",
            [](const Tensors& t) {
                const Tensor dy = t[0].clone();
                kernels::gelu_backward(dy, t[1]);
                return Tensors{dy};
            },
            {random({count}), x}, 20);
    }
    const Tensor far = at::tensor({-1e4F, -50.0F, 0.0F, 50.0F, 1e4F});
    EXPECT_TRUE(at::allclose(kernels::gelu(far), at::tensor({0.0F, 0.0F, 0.0F, 50.0F, 1e4F}), 0, 1e-30));
    const Tensor slope = at::ones({5});
    kernels::gelu_backward(slope, far);
    EXPECT_TRUE(at::allclose(slope, at::tensor({0.0F, 0.0F, 0.5F, 1.0F, 1.0F}), 0, 1e-20));
}

DropoutKey key_of(double probability, std::int64_t length) {
    return {.probability = probability, .seed = 5, .step = 3, .first_sequence = 6, .length = length, .layer = 2};
}

// Two or three roundings an element.
TEST_F(Kernels, ResidualAndDropout) {
    for (const std::int64_t width : {48, 64, 100})
        for (const double probability : {0.0, 0.1}) {
            const DropoutKey key = key_of(probability, 20);
            for (const Tensor& bias : {Tensor(), random({width})})
                check(
                    "add_residual", [&](const Tensors& t) { return Tensors{add_residual(t[0], t[1], t[2], key)}; },
                    {random({60, width}), random({60, width}), bias}, 4);
            check(
                "dropout_backward", [&](const Tensors& t) { return Tensors{kernels::dropout_backward(t[0], key)}; },
                {random({60, width})}, 2);
        }
    const Tensor dy = random({60, 48});
    EXPECT_TRUE(kernels::dropout_backward(dy, key_of(0, 20)).is_same(dy));
    const double kept =
        at::count_nonzero(kernels::dropout_backward(at::ones({200, 100}), key_of(0.1, 20))).item<double>();
    EXPECT_NEAR(kept, 18000, 5 * std::sqrt(20000 * 0.1 * 0.9));
}

// A row's mask depends on its place in the global batch, not on the microbatch that it comes in.
TEST_F(Kernels, DropoutIsTheSameInAnyMicrobatch) {
    const Tensor x = at::ones({80, 48});
    const Tensor whole = kernels::dropout_backward(x, key_of(0.5, 20));
    for (const std::int64_t sequences : {1, 2}) {
        for (std::int64_t first = 0; first < 4; first += sequences) {
            DropoutKey key = key_of(0.5, 20);
            key.first_sequence += first;
            const Tensor part = kernels::dropout_backward(x.narrow(0, 0, sequences * 20), key);
            EXPECT_TRUE(part.equal(whole.narrow(0, first * 20, sequences * 20)));
        }
    }
}

// Where rows are cut over tensor ranks, a tensor may begin and end inside a sequence: fp32's operators and their twins.
TEST_F(Kernels, DropoutIsTheSameInAnyRunOfRows) {
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
        const Tensor x = at::ones({80, 48}, dtype);
        const Tensor whole = kernels::dropout_backward(x, key_of(0.5, 20));
        for (const auto& [first, rows] :
             std::vector<std::pair<int, int>>{{0, 80}, {0, 7}, {7, 20}, {35, 45}, {60, 20}}) {
            DropoutKey key = key_of(0.5, 20);
            key.first_row = first;
            const Tensor own = x.narrow(0, 0, rows), expected = whole.narrow(0, first, rows);
            EXPECT_TRUE(kernels::dropout_backward(own, key).equal(expected)) << first << ", " << rows << " rows";
            EXPECT_TRUE(add_residual(at::zeros_like(own), own, {}, key).equal(expected));
        }
    }
}

struct AttentionCase {
    AttentionShape shape;
    double probability;
};

std::vector<AttentionCase> attention_cases() {
    std::vector<AttentionCase> cases;
    for (const double probability : {0.0, 0.2})
        for (const AttentionShape& shape : std::vector<AttentionShape>{
                 {2, 256, 8, 64, 0}, {2, 20, 4, 12, 0}, {1, 1, 2, 16, 0}, {3, 65, 1, 7, 3}, {1, 130, 3, 32, 2}})
            cases.push_back({shape, probability});
    return cases;
}

// Scores of unit deviation times d^½ · scale = 1; products as above, twice in a row, and four times backward.
TEST_F(Kernels, Attention) {
    for (const auto& [shape, probability] : attention_cases()) {
        const std::int64_t n = shape.sequences * shape.length, width = shape.heads * shape.head_width;
        const DropoutKey key = key_of(probability, shape.length);
        const Tensor qkv = random({n, 3 * width});
        check(
            "attention",
            [&](const Tensors& t) {
                auto [out, logsumexp] = attention(t[0], shape, key);
                return Tensors{out, logsumexp};
            },
            {qkv}, kProduct);
        const auto exact = aten::attention(qkv.to(at::kDouble), shape, key);
        check(
            "attention_backward",
            [&](const Tensors& t) { return Tensors{attention_backward(t[0], t[1], t[2], t[3], shape, key)}; },
            {random({n, width}), qkv, exact.out.to(at::kFloat), exact.logsumexp.to(at::kFloat)}, 2 * kProduct);
    }
}

// The twin is an oracle too, so it is compared with autograd through the plain formula.
TEST_F(Kernels, AttentionTwinIsTheGradient) {
    const AttentionShape shape{.sequences = 2, .length = 9, .heads = 2, .head_width = 5, .first_head = 1};
    for (const double probability : {0.0, 0.3}) {
        const DropoutKey key = key_of(probability, shape.length);
        const Tensor qkv = at::randn({18, 30}, at::kDouble), dout = at::randn({18, 10}, at::kDouble);
        const auto [out, logsumexp] = aten::attention(qkv, shape, key);
        const Tensor dqkv = aten::attention_backward(dout, qkv, out, logsumexp, shape, key);
        const Tensor direction = at::randn({18, 30}, at::kDouble);
        constexpr double kStep = 1e-5;  // central differences: error kStep² times a third derivative of order 1
        const auto objective = [&](double step) {
            return (aten::attention(qkv + step * direction, shape, key).out * dout).sum().item<double>();
        };
        const double slope = (objective(kStep) - objective(-kStep)) / (2 * kStep);
        EXPECT_NEAR((dqkv * direction).sum().item<double>(), slope, 1e-7 * std::abs(slope) + 1e-7);
    }
}

// A shard of the heads computes what all heads compute of them, dropout included.
TEST_F(Kernels, AttentionHeadsAreIndependent) {
    const AttentionShape all{.sequences = 2, .length = 70, .heads = 4, .head_width = 16, .first_head = 0};
    AttentionShape half = all;
    half.heads = 2;
    half.first_head = 2;
    const DropoutKey key = key_of(0.3, 70);
    const Tensor qkv = random({140, 192});
    const Tensor last = qkv.view({140, 3, 4, 16}).narrow(2, 2, 2).reshape({140, 96});
    EXPECT_TRUE(attention(last, half, key).out.equal(attention(qkv, all, key).out.narrow(1, 32, 32)));
}

TEST_F(Kernels, Embedding) {
    for (const std::int64_t first : {0, 100}) {
        const Tensor ids = tokens(120, 250);
        check(
            "embed_tokens", [&](const Tensors& t) { return Tensors{kernels::embed_tokens(t[0], t[1], first)}; },
            {ids, random({125, 48})}, 0);
        check(
            "accumulate_token_gradient",
            [&](const Tensors& t) {
                const Tensor dtable = t[0].clone();
                accumulate_token_gradient(dtable, t[1], t[2], first);
                return Tensors{dtable};
            },
            {random({125, 200}), random({120, 200}), ids}, 10);
    }
    check(
        "accumulate_position_gradient",
        [](const Tensors& t) {
            const Tensor dtable = t[0].clone();
            accumulate_position_gradient(dtable, t[1], 3, 40);
            return Tensors{dtable};
        },
        {random({64, 48}), random({120, 48})}, 4);
}

struct Vocabulary {
    std::int64_t rows, width, valid, first;
};

// Sums of up to 8192 exponentials in 16 lanes: up to 512 roundings of a lane, of random sign.
TEST_F(Kernels, CrossEntropy) {
    for (const auto& [rows, width, valid, first] :
         std::vector<Vocabulary>{{64, 8192, 8192, 0}, {40, 126, 125, 126}, {7, 17, 3, 0}, {5, 20, 0, 40}}) {
        const Tensor logits = random({rows, width}, 2), targets = tokens(rows, first + width);
        const Tensor maxima = valid > 0 ? logits.narrow(1, 0, valid).amax(1) : at::zeros({rows});
        const std::int64_t v = valid, f = first;
        if (valid > 0)
            check(
                "row_maxima", [v](const Tensors& t) { return Tensors{row_maxima(t[0], v)}; }, {logits}, 0);
        else
            EXPECT_EQ(row_maxima(logits, 0).max().item<float>(), -INFINITY);
        check(
            "exponential_sums",
            [v, f](const Tensors& t) {
                const Tensor x = t[0].clone();
                const Tensor sums = exponential_sums(x, t[1], t[2], f, v);
                return Tensors{x, sums[0].clone(), sums[1].clone()};
            },
            {logits, maxima, targets}, 100);
        const Tensor e = logits.clone();
        const Tensor sums = exponential_sums(e, maxima, targets, first, valid) + (valid > 0 ? 0 : 1);
        check(
            "cross_entropy_gradient",
            [f](const Tensors& t) {
                const Tensor x = t[0].clone();
                cross_entropy_gradient(x, t[1], t[2], f, 0.25, at::kFloat);
                return Tensors{x};
            },
            {e, sums, targets}, 4);
        const double exact = aten::cross_entropy_sum(sums.to(at::kDouble));
        EXPECT_NEAR(cross_entropy_sum(sums), exact, 1e-12 * std::abs(exact) + 1e-12);
    }
}

// The whole of it against ATen's own loss and gradient, in two shards.
TEST_F(Kernels, ShardedCrossEntropyIsTheLoss) {
    constexpr std::int64_t kRows = 30, kWidth = 64, kVocabulary = 120;
    const Tensor padded = random({kRows, 2 * kWidth}, 3), targets = tokens(kRows, kVocabulary);
    const Tensor logits = padded.narrow(1, 0, kVocabulary).to(at::kDouble);
    Tensors shard = {padded.narrow(1, 0, kWidth).contiguous(), padded.narrow(1, kWidth, kWidth).contiguous()};
    const std::vector<std::int64_t> valid = {kWidth, kVocabulary - kWidth};
    const Tensor maxima = at::maximum(row_maxima(shard[0], valid[0]), row_maxima(shard[1], valid[1]));
    const Tensor sums = exponential_sums(shard[0], maxima, targets, 0, valid[0]) +
                        exponential_sums(shard[1], maxima, targets, kWidth, valid[1]);
    const double loss = at::nll_loss(logits.log_softmax(1), targets, {}, at::Reduction::Sum).item<double>();
    EXPECT_NEAR(cross_entropy_sum(sums), loss, 1e-6 * loss);  // fp32 sums: 2^-24 and a few roundings
    cross_entropy_gradient(shard[0], sums, targets, 0, 2, at::kFloat);
    cross_entropy_gradient(shard[1], sums, targets, kWidth, 2, at::kFloat);
    const Tensor gradient = at::cat({shard[0], shard[1]}, 1).to(at::kDouble);
    const Tensor expected = 2 * (logits.softmax(1) - at::one_hot(targets, kVocabulary));
    EXPECT_LE((gradient.narrow(1, 0, kVocabulary) - expected).abs().max().item<double>(), 1e-6);
    EXPECT_EQ(gradient.narrow(1, kVocabulary, 8).abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace smp::models::kernels
