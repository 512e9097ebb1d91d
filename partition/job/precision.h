// How numbers are kept in training, and the bytes that follow from it. Arithmetic is in fp32 throughout.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "partition/job/words.h"

namespace smp::partition {

/// fp32: everything. bf16, fp16: parameters as the model uses them and all activations are 16 bits wide; gradients of
/// parameters, AdamW's moments and its master copy of the parameters, statistics, logits and losses stay fp32. fp16
/// scales the loss, since its smallest numbers are not small enough for gradients.
enum class Precision { fp32, bf16, fp16 };
template <>
struct Words<Precision> {
    static constexpr std::array<std::string_view, 3> list = {"fp32", "bf16", "fp16"};
};

/// Bytes of a parameter's value, and of an element of an activation.
constexpr std::int64_t value_bytes(Precision precision) { return precision == Precision::fp32 ? 4 : 2; }

/// Bytes of a parameter's gradient.
constexpr std::int64_t kGradientBytes = 4;

/// Bytes that AdamW holds of a parameter: two moments and, in 16 bits, the master copy.
constexpr std::int64_t optimizer_bytes(Precision precision) { return precision == Precision::fp32 ? 8 : 12; }

}  // namespace smp::partition
