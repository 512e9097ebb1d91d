// If these fail, a run says at its start that operators take another implementation than they do.
#include <algorithm>
#include <string>

#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/kernel_table.h"
#include "models/kernels/own_kernels.h"
#include "models/kernels/product_tile.h"

namespace smp::models::kernels {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kWidths[] = {1, 7, 8, 20, 64, 80, 120, 127, 128, 129, 136, 256};

std::string taken(DeviceKind device, Storage storage, std::int64_t head_width, const std::string& name) {
    const auto table = kernel_table(device, storage, head_width);
    const auto found = std::ranges::find(table, name, &ImplementedOperator::name);
    return found == table.end() ? "" : found->taken;
}

TEST(KernelsTable, NamesTheTilesThatProductsTakeOnThisProcessor) {
    const char* expected = "portable";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) expected = "AVX2";
    if (__builtin_cpu_supports("avx512f")) expected = "AVX-512";
    EXPECT_EQ(taken(DeviceKind::cpu, Storage::bf16, 64, "products"), std::string("own ") + expected + " tiles, fp32");
    ProductKernel of_that_name = product_kernel_portable();
    if (std::string(expected) == "AVX2") of_that_name = product_kernel_avx2();
    if (std::string(expected) == "AVX-512") of_that_name = product_kernel_avx512();
    EXPECT_EQ(best_product_kernel().wide, of_that_name.wide) << "not what multiply() takes";
}

TEST(KernelsTable, SaysOwnOnTheCpuForAllThatTheOwnKernelsTake) {
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
        const at::Tensor x = at::empty({1, 1}, type);
        ASSERT_TRUE(takes(x));
        for (const auto& each : kernel_table(DeviceKind::cpu, storage_of(x), 64))
            EXPECT_THAT(each.taken, ::testing::StartsWith("own ")) << each.name;
    }
}

TEST(KernelsTable, SaysOfAttentionOnCudaWhatTakesTheHeads) {
    for (const Storage storage : {Storage::fp32, Storage::bf16, Storage::fp16})
        for (const std::int64_t width : kWidths) {
            if (!cuda::takes_heads({.sequences = 1, .length = 1024, .heads = 12, .head_width = width})) {
                EXPECT_THROW(kernel_table(DeviceKind::cuda, storage, width), std::logic_error) << width;
                continue;
            }
            const std::string words = taken(DeviceKind::cuda, storage, width, "attention");
            const bool by_tensor_cores = storage != Storage::fp32 && width % 8 == 0;
            EXPECT_THAT(words, HasSubstr(by_tensor_cores ? "on tensor cores" : "scalar")) << width;
        }
}

TEST(KernelsTable, StandsInOneLineWithEqualOnesTogether) {
    EXPECT_EQ(in_words({{"products", "a"}, {"attention", "b"}, {"GELU", "a"}}), "products, GELU: a; attention: b");
    EXPECT_EQ(taken(DeviceKind::cuda, Storage::fp32, 64, "products"), "cuBLAS in fp32, no TF32");
    EXPECT_EQ(taken(DeviceKind::cuda, Storage::fp16, 64, "products"), "cuBLAS in fp16, summed in fp32");
    EXPECT_THAT(in_words(kernel_table(DeviceKind::cuda, Storage::bf16, 64)),
                HasSubstr("; LayerNorm, GELU, residual and dropout, embedding, cross-entropy: own kernels"));
    EXPECT_THAT(in_words(kernel_table(DeviceKind::cpu, Storage::bf16, 64)), Not(HasSubstr("ATen")));
}

}  // namespace
}  // namespace smp::models::kernels
