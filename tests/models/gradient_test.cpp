// The whole model, all dropouts on: gradients against finite differences, and what must not change a run.
#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/models/reference_gpt2.h"
#include "tests/models/tensor_group.h"

namespace smp::models {
namespace {

using testing::Batch;
using testing::ModelRun;
using testing::NamedTensors;
using testing::run_model;

Gpt2Options model(double dropout) {
    Gpt2Options options;
    options.n_layer = 2;
    options.n_head = 6;
    options.n_embd = 24;
    options.n_positions = 20;
    options.vocab_size = 31;
    options.embd_pdrop = options.resid_pdrop = options.attn_pdrop = dropout;
    return options;
}

Batch batch_of(std::int64_t microbatches = 1) {
    Batch batch = testing::random_batch(model(0), 8, 20, 3);
    batch.microbatches = microbatches;
    return batch;
}

void expect_same(const ModelRun& run, const ModelRun& other, double tolerance) {
    EXPECT_NEAR(run.loss, other.loss, tolerance * other.loss);
    for (const auto& [name, gradient] : other.gradients)
        EXPECT_LE(testing::relative_error(run.gradients.at(name), gradient), tolerance) << name;
}

// Along a random direction u: (L(w + εu) − L(w − εu)) / 2ε = ⟨∇L, u⟩ + O(ε²). With ε = 1e-5, rounding of L ≈ 3 in fp64
// adds 1e-16·3/1e-5 ≈ 1e-10, and ε²·L''' some 1e-9 (|u| is about 150). The masks are keyed, so they stay.
TEST(Gradient, IsTheSlopeOfTheLossWithDropout) {
    const NamedTensors weights = testing::random_weights(model(0.2), at::kDouble, 4);
    const ModelRun run = run_model(model(0.2), weights, batch_of(), {.dtype = at::kDouble});
    for (const auto& [only, weight] : weights) {
        at::manual_seed(9);
        const at::Tensor direction = at::randn_like(weight);
        constexpr double kStep = 1e-5;
        NamedTensors moved = weights;
        moved[only] = weight + kStep * direction;
        const double above = run_model(model(0.2), moved, batch_of(), {.dtype = at::kDouble}).loss;
        moved[only] = weight - kStep * direction;
        const double below = run_model(model(0.2), moved, batch_of(), {.dtype = at::kDouble}).loss;
        const double slope = (run.gradients.at(only) * direction).sum().item<double>();
        EXPECT_NEAR((above - below) / (2 * kStep), slope, 1e-7 * (1 + std::abs(slope))) << only;
    }
}

// In fp64 only a different mask, not rounding, could be seen at this tolerance.
TEST(Dropout, IsTheSameInEveryTensorDegree) {
    const NamedTensors weights = testing::random_weights(model(0), at::kDouble, 4);
    const ModelRun one = run_model(model(0.2), weights, batch_of(), {.dtype = at::kDouble});
    for (const int degree : {2, 3, 6})
        expect_same(run_model(model(0.2), weights, batch_of(), {.tensor_degree = degree, .dtype = at::kDouble}), one,
                    1e-11);
}

TEST(Dropout, IsTheSameInEveryMicrobatchCut) {
    const NamedTensors weights = testing::random_weights(model(0), at::kDouble, 4);
    const ModelRun one = run_model(model(0.2), weights, batch_of(), {.dtype = at::kDouble});
    for (const std::int64_t microbatches : {2, 4, 8})
        expect_same(run_model(model(0.2), weights, batch_of(microbatches), {.dtype = at::kDouble}), one, 1e-11);
}

// fp32 takes other operators than fp64; a tenth of the masks' effect (see below) is far above its rounding.
TEST(Dropout, IsTheSameInFp32) {
    const NamedTensors weights = testing::random_weights(model(0), at::kFloat, 4);
    const ModelRun exact = run_model(model(0.2), weights, batch_of(), {.dtype = at::kDouble});
    for (const int degree : {1, 2, 3})
        expect_same(run_model(model(0.2), weights, batch_of(4), {.tensor_degree = degree}), exact, 1e-4);
}

TEST(Dropout, DependsOnSeedAndStepAndSite) {
    const NamedTensors weights = testing::random_weights(model(0), at::kDouble, 4);
    const auto loss = [&](const Gpt2Options& options, std::uint64_t seed, std::uint64_t step,
                          std::uint64_t tensor_parallel_seed = 0) {
        Batch batch = batch_of();
        batch.seed = seed;
        batch.step = step;
        return run_model(options, weights, batch, {.dtype = at::kDouble, .tensor_parallel_seed = tensor_parallel_seed})
            .loss;
    };
    const double first = loss(model(0.2), 1, 0);
    EXPECT_EQ(loss(model(0.2), 1, 0), first);
    EXPECT_GT(std::abs(loss(model(0.2), 2, 0) - first), 1e-3);
    EXPECT_GT(std::abs(loss(model(0.2), 1, 1) - first), 1e-3);
    EXPECT_GT(std::abs(loss(model(0.2), 1, 0, 5) - first), 1e-6);
    // Only attention's weights lie on different tensor ranks.
    Gpt2Options others = model(0.2);
    others.attn_pdrop = 0;
    EXPECT_EQ(loss(others, 1, 0, 5), loss(others, 1, 0));
    for (double Gpt2Options::*site : {&Gpt2Options::embd_pdrop, &Gpt2Options::resid_pdrop, &Gpt2Options::attn_pdrop}) {
        Gpt2Options only = model(0);
        only.*site = 0.2;
        EXPECT_NE(loss(only, 1, 0), loss(model(0), 1, 0));
    }
}

TEST(Dropout, IsOffInEvaluation) {
    const NamedTensors weights = testing::random_weights(model(0), at::kFloat, 4);
    const ModelRun with = run_model(model(0.2), weights, batch_of()),
                   without = run_model(model(0), weights, batch_of());
    EXPECT_EQ(with.evaluation_loss, without.evaluation_loss);
    EXPECT_EQ(without.loss, without.evaluation_loss);
    EXPECT_GT(std::abs(with.loss - with.evaluation_loss), 1e-3);
}

// With weights 0 and projection biases 1, a block adds the masks of its two outputs: each of 0, 1, 2 kept must occur,
// and another layer has another pattern.
TEST(Dropout, DiffersBetweenSitesAndLayers) {
    Gpt2Options options = model(0);
    options.resid_pdrop = 0.5;
    NamedTensors weights = testing::random_weights(options, at::kFloat, 4);
    for (auto& [name, weight] : weights) weight.fill_(name.ends_with("c_proj.bias") ? 1 : 0);
    testing::on_tensor_ranks(1, [&](comms::Communicator& group) {
        SegmentContext context;
        context.tensor_group = &group;
        const auto bound = testing::bind_model(options, weights, 1, 3, context);
        const Microbatch microbatch = testing::cut(batch_of())[0];
        Loss loss;
        std::vector<at::Tensor> outputs;
        for (const auto& layer : bound.segments) {
            Stash stash;
            outputs.push_back(layer->forward(at::zeros({160, 24}), stash, microbatch, loss));
        }
        const auto share = [](const at::Tensor& mask) { return mask.to(at::kDouble).mean().item<double>(); };
        EXPECT_NEAR(share(outputs[0] == 0), 0.25, 0.05);
        EXPECT_NEAR(share(outputs[0] == 2), 0.5, 0.05);
        EXPECT_NEAR(share(outputs[0] == 4), 0.25, 0.05);
        EXPECT_NEAR(share(outputs[0] == outputs[1]), 0.375, 0.05);  // 1/16 + 1/4 + 1/16
    });
}

// Five tokens over four ranks are two, two, one and none: the last rank has padding only.
TEST(Gradient, KeepsWithATensorRankThatHasNoToken) {
    Gpt2Options options = model(0);
    options.vocab_size = 5;
    options.n_head = 4;
    const NamedTensors weights = testing::random_weights(options, at::kDouble, 4);
    const Batch batch = testing::random_batch(options, 4, 20, 3);
    const ModelRun one = run_model(options, weights, batch, {.dtype = at::kDouble, .logits = true});
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
        const ModelRun four = run_model(options, weights, batch, {.tensor_degree = 4, .dtype = dtype, .logits = true});
        const double tolerance = dtype == at::kDouble ? 1e-12 : 1e-5;  // against a defect's 1
        expect_same(four, one, tolerance);
        EXPECT_LE(testing::relative_error(four.logits, one.logits), tolerance);
    }
}

// Against fp64 with the same, rounded weights. A result goes through some 16 roundings to half a last place at stores:
// 2^-9 of a bf16 number, 2^-12 of an fp16 one. Dropped elements are the same ones.
TEST(Gradient, InSixteenBitsIsOffByItsRoundings) {
    for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
        NamedTensors weights = testing::random_weights(model(0), at::kFloat, 4);
        for (auto& [name, weight] : weights) weight = weight.to(dtype).to(at::kFloat);
        const double tolerance = 16 * (dtype == at::kHalf ? 0x1p-12 : 0x1p-9);
        const ModelRun exact = run_model(model(0.2), weights, batch_of(), {.dtype = at::kDouble, .logits = true});
        for (const int degree : {1, 3}) {
            const ModelRun run =
                run_model(model(0.2), weights, batch_of(2), {.tensor_degree = degree, .dtype = dtype, .logits = true});
            expect_same(run, exact, tolerance);
            EXPECT_LE(testing::relative_error(run.logits, exact.logits), tolerance);
            EXPECT_EQ(run.logits.scalar_type(), at::kFloat);
            for (const auto& [name, gradient] : run.gradients) EXPECT_EQ(gradient.scalar_type(), at::kFloat) << name;
        }
    }
}

// Promise 1 of the design: neither threads nor a repetition changes a bit.
TEST(Gradient, ThreadsDoNotShow) {
    const NamedTensors weights = testing::random_weights(model(0), at::kFloat, 4);
    for (const double dropout : {0.0, 0.2}) {
        const ModelRun one = run_model(model(dropout), weights, batch_of(2));
        for (const int threads : {1, 2, 3})
            expect_same(run_model(model(dropout), weights, batch_of(2), {.operator_threads = threads}), one, 0);
    }
}

}  // namespace
}  // namespace smp::models
