// The whole model against runs of an independent implementation (tests/golden): logits, loss and first gradients.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/models/reference_gpt2.h"
#include "tests/models/safetensors_reader.h"
#include "tests/models/tensor_group.h"

namespace smp::models {
namespace {

using testing::golden_case;
using testing::GoldenCase;

double distance(const at::Tensor& a, const at::Tensor& b) {
    EXPECT_EQ(a.sizes(), b.sizes());
    return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/// Ten times as far as that implementation in fp32 is from itself in fp64: the bound that golden/README.md gives.
void expect_golden(const GoldenCase& golden, const testing::ModelRun& run) {
    EXPECT_NEAR(run.loss, golden.loss, 10 * golden.loss_drift);
    EXPECT_NEAR(run.evaluation_loss, golden.loss, 10 * golden.loss_drift);
    const auto& logits = golden.reference.at("logits");
    EXPECT_LE(distance(run.logits.narrow(0, 0, 2 * golden.length), logits.flatten(0, 1)), 10 * golden.logits_drift);
    std::size_t compared = 0;
    for (const auto& [name, gradient] : run.gradients) {
        EXPECT_LE(distance(gradient, golden.reference.at("grad." + name)), 10 * golden.gradient_drift) << name;
        ++compared;
    }
    EXPECT_EQ(compared, golden.weights.size());
}

struct Layout {
    std::string name;
    int tensor_degree;
    std::int64_t microbatches;
    partition::Optimize optimize = partition::Optimize::speed;
};

class Golden : public ::testing::TestWithParam<Layout> {};

TEST_P(Golden, LogitsLossAndGradients) {
    const auto [name, tensor_degree, microbatches, optimize] = GetParam();
    const GoldenCase golden = golden_case(name);
    const testing::Batch batch{.inputs = golden.inputs, .targets = golden.targets, .microbatches = microbatches};
    expect_golden(golden, testing::run_model(golden.options, golden.weights, batch,
                                             {.tensor_degree = tensor_degree, .logits = true, .optimize = optimize}));
}

INSTANTIATE_TEST_SUITE_P(OneRank, Golden,
                         ::testing::Values(Layout{"tiny", 1, 1}, Layout{"tiny", 1, 4}, Layout{"odd", 1, 1},
                                           Layout{"odd", 1, 3}, Layout{"untied", 1, 1}, Layout{"untied", 1, 8}),
                         [](const auto& instance) {
                             return instance.param.name + "In" + std::to_string(instance.param.microbatches);
                         });
INSTANTIATE_TEST_SUITE_P(TensorRanks, Golden,
                         ::testing::Values(Layout{"tiny", 2, 1}, Layout{"tiny", 4, 2}, Layout{"odd", 2, 1},
                                           Layout{"odd", 3, 2}, Layout{"untied", 2, 2}, Layout{"untied", 4, 1},
                                           Layout{"untied", 8, 1}, Layout{"tiny", 2, 1, partition::Optimize::memory},
                                           Layout{"odd", 3, 2, partition::Optimize::memory},
                                           Layout{"untied", 4, 2, partition::Optimize::memory}),
                         [](const auto& instance) {
                             return instance.param.name + "Over" + std::to_string(instance.param.tensor_degree) +
                                    (instance.param.optimize == partition::Optimize::memory ? "ForMemory" : "");
                         });

// The oracle of the other tests is itself held to the golden runs, whose gradients are stored in fp32 (one rounding).
TEST(Reference, IsTheGoldenModel) {
    for (const char* name : {"tiny", "odd", "untied"}) {
        const GoldenCase golden = golden_case(name);
        const auto run =
            testing::run_reference(golden.options, golden.weights, golden.inputs, golden.targets, at::kDouble);
        EXPECT_NEAR(run.loss, golden.loss, 1e-12);
        for (const auto& [key, gradient] : run.gradients)
            EXPECT_LE(distance(gradient, golden.reference.at("grad." + key)),
                      6e-8 * golden.reference.at("grad." + key).abs().max().item<double>() + 1e-16)
                << name << " " << key;
    }
}

}  // namespace
}  // namespace smp::models
