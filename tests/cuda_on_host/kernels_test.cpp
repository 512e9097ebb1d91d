// Which operators the row `kernels` of a run calls our own on CUDA: over the stand-in, which refuses every kernel of
// LibTorch, with what our kernels and cuBLAS give a stream counted. If these fail, the row names another implementation
// than a step takes.
#include "models/kernels/kernels.h"

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "models/kernels/kernel_table.h"
#include "models/kernels/own_kernels.h"
#include "tests/cuda_on_host/queued_kernels.h"

namespace smp::models::kernels {
namespace {

std::atomic<int> given = 0;

class KernelsOfSegmentsOnCuda : public standin::QueuedKernels<::testing::TestWithParam<at::ScalarType>> {
  protected:
    void SetUp() override {
        QueuedKernels::SetUp();
        if (IsSkipped()) return;
        smp::testing::cuda_on_host::set_queue([](void* stream, std::function<void()> task) {
            ++given;
            standin::queue_kernel(stream, std::move(task));
        });
    }

    static at::Tensor on_device(at::IntArrayRef shape, at::ScalarType type) {
        return at::ones(shape, type).to(at::Device(at::kCUDA, 0));
    }
};

TEST_P(KernelsOfSegmentsOnCuda, AreThoseThatTheTableNames) {
    const at::ScalarType type = GetParam();
    const AttentionShape heads{.sequences = 2, .length = 4, .heads = 2, .head_width = 8};
    const DropoutKey key{.probability = 0.1, .length = heads.length};
    const at::Tensor x = on_device({8, 16}, type), y = on_device({8, 16}, type), w = on_device({16, 16}, type),
                     vector = on_device({16}, type), qkv = on_device({8, 48}, type);
    const at::Tensor sums = on_device({16}, at::kFloat), matrix = on_device({16, 16}, at::kFloat),
                     logit = on_device({8, 16}, at::kFloat), maxima = on_device({8}, at::kFloat),
                     loss = on_device({1}, at::kDouble), tokens = on_device({8}, at::kLong);
    const Normalised normal = layer_norm(x, vector, vector, 1e-5);
    const Attended attended = attention(qkv, heads, key);
    const at::Tensor exponentials = exponential_sums(logit, maxima, tokens, 0, 16);
    const std::map<std::string, std::vector<std::function<void()>>> uses = {
        {"products",
         {[&] { kernels::linear(x, w, vector); }, [&] { kernels::linear(x, w, {}); },
          [&] { linear_backward_input(y, w); }, [&] { logits(x, w); }, [&] { linear_backward_weight(matrix, x, y); },
          [&] { accumulate_column_sums(sums, y); }}},
        {"attention",
         {[&] { attention(qkv, heads, key); },
          [&] { attention_backward(y, qkv, attended.out, attended.logsumexp, heads, key); }}},
        {"LayerNorm",
         {[&] { layer_norm(x, vector, vector, 1e-5); },
          [&] { layer_norm_backward_input(y, x, normal.mean, normal.rstd, vector, {}); },
          [&] { layer_norm_backward_weight(sums, sums, y, x, normal.mean, normal.rstd); }}},
        {"GELU", {[&] { kernels::gelu(x); }, [&] { kernels::gelu_backward(y, x); }}},
        {"residual and dropout", {[&] { add_residual(x, y, vector, key); }, [&] { dropout_backward(y, key); }}},
        {"embedding",
         {[&] { embed_tokens(tokens, w, 0); }, [&] { add_positions(x, w, 0, 4); },
          [&] { accumulate_token_gradient(matrix, y, tokens, 0); },
          [&] { accumulate_position_gradient(matrix, y, 2, 4); }}},
        {"cross-entropy",
         {[&] { row_maxima(logit, 16); }, [&] { exponential_sums(logit, maxima, tokens, 0, 16); },
          [&] { add_cross_entropy(loss, exponentials); },
          [&] { cross_entropy_gradient(logit, exponentials, tokens, 0, 1, type); }}}};
    const auto table = kernel_table(DeviceKind::cuda, storage_of(x), heads.head_width);
    ASSERT_EQ(table.size(), uses.size());
    for (const ImplementedOperator& row : table) {
        SCOPED_TRACE(row.name);
        EXPECT_THAT(row.taken, ::testing::AnyOf(::testing::StartsWith("own kernel"), ::testing::StartsWith("cuBLAS")));
        for (const auto& use : uses.at(row.name)) {
            const int before = given;
            EXPECT_NO_THROW(use());  // as LibTorch's would
            EXPECT_GT(given, before);
        }
    }
    x.cpu();  // all has been done before the tensors go
}

INSTANTIATE_TEST_SUITE_P(Storages, KernelsOfSegmentsOnCuda, ::testing::Values(at::kFloat, at::kBFloat16, at::kHalf));

// The scores of all heads, in memory that no forecast knows, would be ATen's way.
TEST_P(KernelsOfSegmentsOnCuda, RefuseHeadsThatNoKernelTakes) {
    const AttentionShape wide{.sequences = 1, .length = 2, .heads = 1, .head_width = 136};
    EXPECT_THROW(attention(on_device({2, 3 * 136}, GetParam()), wide, {}), std::logic_error);
    EXPECT_THROW(kernel_table(DeviceKind::cuda, Storage::fp32, 136), std::logic_error);
}

}  // namespace
}  // namespace smp::models::kernels
