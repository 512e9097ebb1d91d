// Which implementation each operator of a step takes, in words: what the dispatch of kernels.h comes to on one kind of
// device, for a person who wants to know before the first step. No LibTorch header.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/kernels/storage.h"

namespace smp::models::kernels {

enum class DeviceKind { cpu, cuda };

struct ImplementedOperator {
    std::string name;   // "products"
    std::string taken;  // "cuBLAS in bf16, summed in fp32"
};

/// On this machine's processor, or on a CUDA device, where activations and weights are stored as `storage` and heads
/// have `head_width` columns. Pure, but for what the processor can do. Throws std::logic_error for heads that attention
/// on CUDA does not take.
std::vector<ImplementedOperator> kernel_table(DeviceKind device, Storage storage, std::int64_t head_width);

/// In one line: "products: cuBLAS in fp32, no TF32; LayerNorm, GELU: own kernels". Operators with the same
/// implementation stand together, where the first of them is.
std::string in_words(const std::vector<ImplementedOperator>& table);

}  // namespace smp::models::kernels
