// Operators on 16-bit tensors: the bits of the fp32 operator on the widened operands, rounded once.
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "models/kernels/kernels.h"
#include "models/kernels/own_kernels.h"

namespace smp::models::kernels {
namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

/// Equal but for the bits of NaNs.
bool same(const Tensor& a, const Tensor& b) {
    return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
           a.eq(b).logical_or(a.isnan().logical_and(b.isnan())).all().item<bool>();
}

class KernelsStorage : public testing::TestWithParam<at::ScalarType> {
  protected:
    void SetUp() override { at::manual_seed(1); }

    static Tensor random(at::IntArrayRef shape, double deviation = 1) {
        return (at::randn(shape) * deviation).to(GetParam());
    }

    /// `f` gets the inputs as they are and widened; it makes new tensors, or adds to fp32 ones that it makes. Whatever
    /// is 16 bits wide in the first case must be the other one rounded.
    static void check(const std::string& name, const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs) {
        Tensors wide;
        for (const Tensor& input : inputs)
            wide.push_back(input.defined() && input.scalar_type() == GetParam() ? input.to(at::kFloat) : input);
        const Tensors expected = f(wide);
        for (const int threads : {1, 2, 3}) {
            Tensors outputs;
            std::thread([&] {
                at::set_num_threads(threads);
                outputs = f(inputs);
            }).join();
            ASSERT_EQ(outputs.size(), expected.size());
            for (std::size_t i = 0; i < outputs.size(); ++i) {
                ASSERT_EQ(expected[i].scalar_type(), at::kFloat);
                EXPECT_TRUE(same(outputs[i], expected[i].to(outputs[i].scalar_type())))
                    << name << ", output " << i << ", " << threads << " threads";
            }
        }
    }
};

TEST_P(KernelsStorage, WidensAndRoundsEveryNumberAsLibTorchDoes) {
    const Tensor all = at::arange(-32768, 32768, at::kShort).view(GetParam());
    Tensor wide = at::empty({65536}, at::kFloat);
    load(wide.mutable_data_ptr<float>(), 65536, elements(all), 65536, {.columns = 65536});
    EXPECT_TRUE(same(wide, all.to(at::kFloat)));

    // Every exponent and sign with random digits; numbers half-way between two 16-bit ones; both infinities.
    std::mt19937 random(1);
    std::vector<std::int32_t> bits(1 << 20);
    for (auto& x : bits) x = static_cast<std::int32_t>(random());
    for (std::size_t i = 0; i < bits.size() / 2; ++i)
        bits[i] &= i % 2 == 0 ? ~0x7fff : ~0xfff;  // half of bf16's last place, of fp16's
    bits[0] = 0x7f800000;
    bits[1] = static_cast<std::int32_t>(0xff800000);
    const Tensor from = at::from_blob(bits.data(), {static_cast<std::int64_t>(bits.size())}, at::kInt).view(at::kFloat);
    for (const std::int64_t count : {from.numel(), std::int64_t{1}, std::int64_t{13}}) {
        const Tensor rounded = at::empty({count}, GetParam());
        store(mutable_elements(rounded), count, from.const_data_ptr<float>(), count, {.columns = count});
        EXPECT_TRUE(same(rounded, from.narrow(0, 0, count).to(GetParam())));
    }
}

struct Sizes {
    std::int64_t rows, in, out;
};

// More terms than a block of 256, more rows than 384 and more columns than 1,024: sums of a 16-bit result go over
// several blocks of each.
TEST_P(KernelsStorage, LinearLayers) {
    for (const auto& [rows, in, out] : std::vector<Sizes>{
             {40, 48, 192}, {1, 64, 64}, {7, 33, 503}, {130, 5, 1}, {257, 300, 77}, {500, 520, 40}, {33, 30, 1100}}) {
        check("linear", [](const Tensors& x) { return Tensors{linear(x[0], x[1], x[2])}; },
              {random({rows, in}), random({in, out}), random({out})});
        check("linear without bias", [](const Tensors& x) { return Tensors{linear(x[0], x[1], Tensor())}; },
              {random({rows, in}), random({in, out})});
        check("backward for inputs", [](const Tensors& x) { return Tensors{linear_backward_input(x[0], x[1])}; },
              {random({rows, out}), random({in, out})});
        check("logits", [](const Tensors& x) { return Tensors{logits(x[0], x[1])}; },
              {random({rows, in}), random({out, in})});
        const Tensor start = at::randn({in, out}), bias_start = at::randn({out});
        check("backward for weights",
              [&](const Tensors& x) {
                  const Tensor dw = start.clone(), dbias = bias_start.clone();
                  linear_backward_weight(dw, x[0], x[1]);
                  accumulate_column_sums(dbias, x[1]);
                  return Tensors{dw, dbias};
              },
              {random({rows, in}), random({rows, out})});
    }
}

// What the head does: the gradient of the logits stays in fp32.
TEST_P(KernelsStorage, LinearLayersTakeFp32BesideSixteenBits) {
    const Tensor gradient = at::randn({300, 90}), start = at::randn({90, 48});
    check("linear", [&](const Tensors& x) { return Tensors{linear(gradient, x[0], Tensor())}; }, {random({90, 48})});
    EXPECT_EQ(linear(gradient, random({90, 48}), Tensor()).scalar_type(), GetParam());
    EXPECT_EQ(logits(random({2, 48}), random({90, 48})).scalar_type(), at::kFloat);
    check("backward for weights",
          [&](const Tensors& x) {
              const Tensor dw = start.clone();
              linear_backward_weight(dw, gradient, x[0]);
              return Tensors{dw};
          },
          {random({300, 48})});
}

TEST_P(KernelsStorage, LinearTakesStridedRows) {
    const Tensor x = random({50, 200}), w = random({70, 40});
    EXPECT_TRUE(same(linear(x.narrow(1, 30, 70), w, Tensor()), linear(x.narrow(1, 30, 70).contiguous(), w, Tensor())));
}

TEST_P(KernelsStorage, LayerNorm) {
    for (const auto& [rows, width] : std::vector<std::pair<std::int64_t, std::int64_t>>{{70, 64}, {3, 300}, {129, 1}}) {
        check("layer_norm",
              [](const Tensors& x) {
                  const Normalised n = layer_norm(x[0], x[1], x[2], 1e-5);
                  return Tensors{n.y, n.mean, n.rstd};
              },
              {random({rows, width}), random({width}), random({width})});
        const Tensor mean = at::randn({rows}), rstd = at::rand({rows});
        for (const bool with_residual : {false, true})
            check("backward",
                  [&](const Tensors& x) {
                      const Tensor dgain = at::ones({x[0].size(1)}), dbias = at::ones({x[0].size(1)});
                      layer_norm_backward_weight(dgain, dbias, x[0], x[1], mean, rstd);
                      return Tensors{layer_norm_backward_input(x[0], x[1], mean, rstd, x[2], x[3]), dgain, dbias};
                  },
                  {random({rows, width}), random({rows, width}), random({width}),
                   with_residual ? random({rows, width}) : Tensor()});
    }
}

TEST_P(KernelsStorage, GeluAndResidual) {
    for (const auto& [rows, width] : std::vector<std::pair<std::int64_t, std::int64_t>>{{80, 70}, {3, 5000}}) {
        check("gelu", [](const Tensors& x) { return Tensors{kernels::gelu(x[0])}; }, {random({rows, width}, 3)});
        check("gelu_backward",
              [](const Tensors& x) {
                  const Tensor dy = x[0].clone();
                  kernels::gelu_backward(dy, x[1]);
                  return Tensors{dy};
              },
              {random({rows, width}), random({rows, width}, 3)});
        for (const double probability : {0.0, 0.3}) {
            const DropoutKey key{.probability = probability, .seed = 3, .length = rows};
            for (const bool with_bias : {false, true})
                check("add_residual", [&](const Tensors& x) { return Tensors{add_residual(x[0], x[1], x[2], key)}; },
                      {random({rows, width}), random({rows, width}), with_bias ? random({width}) : Tensor()});
            check("dropout_backward", [&](const Tensors& x) { return Tensors{dropout_backward(x[0], key)}; },
                  {random({rows, width})});
        }
    }
}

TEST_P(KernelsStorage, Attention) {
    for (const double probability : {0.0, 0.2}) {
        const AttentionShape shape{.sequences = 2, .length = 100, .heads = 3, .head_width = 20};
        const DropoutKey key{.probability = probability, .seed = 3, .length = 100};
        check("attention",
              [&](const Tensors& x) {
                  const Attended a = attention(x[0], shape, key);
                  return Tensors{a.out, a.logsumexp};
              },
              {random({200, 180})});
        const Tensor qkv = random({200, 180});
        const Attended kept = attention(qkv, shape, key);
        check(
            "attention_backward",
            [&](const Tensors& x) { return Tensors{attention_backward(x[0], x[1], x[2], kept.logsumexp, shape, key)}; },
            {random({200, 60}), qkv, kept.out});
    }
}

TEST_P(KernelsStorage, Embedding) {
    const Tensor tokens = at::randint(50, {60}, at::kLong);
    check("embed_tokens", [&](const Tensors& x) { return Tensors{embed_tokens(tokens, x[0], 10)}; },
          {random({30, 200})});
    check("gradients",
          [&](const Tensors& x) {
              const Tensor table = at::ones({30, 200}), positions = at::ones({25, 200});
              accumulate_token_gradient(table, x[0], tokens, 10);
              accumulate_position_gradient(positions, x[0], 3, 20);
              return Tensors{table, positions};
          },
          {random({60, 200})});
}

INSTANTIATE_TEST_SUITE_P(SixteenBits, KernelsStorage, testing::Values(at::kBFloat16, at::kHalf),
                         [](const auto& instance) { return std::string(at::toString(instance.param)); });

}  // namespace
}  // namespace smp::models::kernels
