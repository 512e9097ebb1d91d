// CUDA tensors through the same operators, beside the CPU. Skipped where no GPU is.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/kernels.h"

namespace smp::models::kernels {
namespace {

using at::Tensor;

class KernelsCuda : public testing::Test {
  protected:
    void SetUp() override {
        if (!at::globalContext().hasCUDA()) GTEST_SKIP() << "no CUDA device, or a build without CUDA";
        at::manual_seed(1);
    }
};

DropoutKey key_of(double probability, std::int64_t length) {
    return {.probability = probability,
            .seed = 5,
            .step = 3,
            .first_sequence = (std::int64_t{1} << 33) + 6,
            .length = length,
            .layer = 2};
}

TEST_F(KernelsCuda, DropoutMasksAreTheSameBits) {
    for (const std::int64_t columns : {1, 63, 64, 100, 512}) {
        const auto mask = [&](at::DeviceType device) {
            return aten::dropout_mask_tensor(key_of(0.3, 20), 3, 7, 20, columns,
                                             at::TensorOptions().dtype(at::kFloat).device(device));
        };
        EXPECT_TRUE(mask(at::kCUDA).cpu().equal(mask(at::kCPU))) << columns << " columns";
    }
}

// Forward and backward in fp64, where both devices sum to within a few units of 2^-53 times the number of terms.
TEST_F(KernelsCuda, AttentionAgreesWithTheCpu) {
    const AttentionShape shape{.sequences = 2, .length = 33, .heads = 3, .head_width = 8, .first_head = 2};
    const DropoutKey key = key_of(0.2, shape.length);
    const Tensor qkv = at::randn({66, 72}, at::kDouble), dout = at::randn({66, 24}, at::kDouble);
    const auto here = attention(qkv, shape, key), there = attention(qkv.cuda(), shape, key);
    EXPECT_TRUE(at::allclose(there.out.cpu(), here.out, 1e-12, 1e-13));
    EXPECT_TRUE(at::allclose(attention_backward(dout.cuda(), qkv.cuda(), there.out, there.logsumexp, shape, key).cpu(),
                             attention_backward(dout, qkv, here.out, here.logsumexp, shape, key), 1e-12, 1e-12));
}

TEST_F(KernelsCuda, ResidualAgreesWithTheCpu) {
    const DropoutKey key = key_of(0.1, 20);
    const Tensor x = at::randn({60, 48}, at::kDouble), branch = at::randn({60, 48}, at::kDouble);
    const Tensor there = add_residual(x.cuda(), branch.cuda(), {}, key);
    EXPECT_TRUE(at::allclose(there.cpu(), add_residual(x, branch, {}, key), 1e-15, 1e-15));
}

}  // namespace
}  // namespace smp::models::kernels
