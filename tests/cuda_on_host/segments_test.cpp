// GPT-2's segments on CUDA tensors beside the CPU: over the stand-in for CUDA's runtime, which refuses every kernel of
// LibTorch, with our kernels run on the host in the order of their stream.
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "models/gpt2/gpt2.h"
#include "models/gpt2/gpt2_parameters.h"
#include "models/kernels/kernels.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/models/reference_gpt2.h"
#include "tests/models/tensor_group.h"
#include "tests/seed.h"

namespace smp::models {
namespace {

class SegmentsOnCuda : public standin::QueuedKernels<::testing::TestWithParam<at::ScalarType>> {};

/// Nothing divides; 300 rows are two chunks of the head. Heads of 12 columns, or of 16, which tensor cores take.
Gpt2Options model(at::ScalarType dtype) {
    Gpt2Options options;
    options.n_layer = 1;
    options.n_head = 3;
    options.n_embd = dtype == at::kFloat ? 36 : 48;
    options.n_positions = 61;
    options.vocab_size = 29;
    options.n_inner = 50;
    options.embd_pdrop = options.attn_pdrop = options.resid_pdrop = 0.1;
    options.tie_word_embeddings = false;
    return options;
}

struct Numbers {
    std::vector<at::Tensor> tensors;  // on the CPU
    double loss = 0;
};

/// All modules one after another, forward and both parts of backward.
Numbers run(const testing::NamedTensors& weights, const testing::Batch& batch, at::ScalarType dtype,
            at::DeviceType device) {
    Numbers numbers;
    testing::on_tensor_ranks(1, [&](comms::Communicator& group) {
        SegmentContext context;
        context.tensor_group = &group;
        auto bound = testing::bind_model(model(dtype), weights, 0, gpt2_module_count(model(dtype)), context, dtype);
        for (std::size_t i = 0; i < bound.segments.size(); ++i) {
            for (ParameterView& view : bound.views[i])
                view = {.value = view.value.to(device), .gradient = view.gradient.to(device)};
            bound.segments[i]->bind(bound.views[i]);
        }
        Microbatch microbatch = testing::cut(batch)[0];
        microbatch.inputs = microbatch.inputs.to(device);
        microbatch.targets = microbatch.targets.to(device);
        Loss loss = device == at::kCPU
                        ? Loss()
                        : Loss(kernels::zeros({1}, at::TensorOptions().dtype(at::kDouble).device(device)));
        std::vector<Stash> stashes(bound.segments.size());
        at::Tensor x;
        for (std::size_t i = 0; i < bound.segments.size(); ++i)
            x = bound.segments[i]->forward(x, stashes[i], microbatch, loss);
        at::Tensor gradient;
        for (std::size_t i = bound.segments.size(); i-- > 0;)
            gradient = bound.segments[i]->backward_input(gradient, stashes[i], microbatch, loss);
        for (std::size_t i = bound.segments.size(); i-- > 0;)
            bound.segments[i]->backward_weight(stashes[i], microbatch);
        for (const auto& views : bound.views)
            for (const ParameterView& view : views) numbers.tensors.push_back(view.gradient.cpu());
        numbers.loss = loss.sum();
    });
    return numbers;
}

// Both compute in fp32 and round where they store, in another order of sums: some hundred terms a sum, a chain of a
// dozen operators; in 16 bits a rounding may fall on the other side at each of them, and tensor cores round weights of
// attention too, which moves the loss of a token by about a unit of its storage, up or down: over 300 tokens by √300 of
// these.
TEST_P(SegmentsOnCuda, GiveTheNumbersOfTheCpu) {
    const at::ScalarType dtype = GetParam();
    const Gpt2Options options = model(dtype);
    const auto weights = testing::random_weights(options, at::kFloat, 3);
    const testing::Batch batch = testing::random_batch(options, 6, 50, 4);
    const Numbers here = run(weights, batch, dtype, at::kCPU);
    const Numbers there = run(weights, batch, dtype, at::kCUDA);
    const double allowed = dtype == at::kFloat ? 1e-5 : 0.03;
    const double unit = dtype == at::kFloat ? 1e-6 : std::ldexp(1, dtype == at::kBFloat16 ? -8 : -11) / std::sqrt(300);
    EXPECT_NEAR(there.loss, here.loss, unit * std::abs(here.loss));
    ASSERT_EQ(there.tensors.size(), here.tensors.size());
    for (std::size_t i = 0; i < here.tensors.size(); ++i)
        EXPECT_LE(testing::relative_error(there.tensors[i].to(at::kFloat), here.tensors[i].to(at::kFloat)), allowed)
            << "tensor " << i;
}

INSTANTIATE_TEST_SUITE_P(Storages, SegmentsOnCuda, ::testing::Values(at::kFloat, at::kBFloat16, at::kHalf));

}  // namespace
}  // namespace smp::models
