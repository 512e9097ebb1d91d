// Whether values that come out of a file can be trained with: in the file, and in the type in which they are held.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <ATen/core/Tensor.h>

namespace smp::runtime {

/// An element, as a file has it, that no training can begin with.
struct UnheldValue {
    std::int64_t element = 0;  // of the tensors that were looked at
    float value = 0;
    bool is_finite = false;  // then it is beyond what the type holds
};

/// The first. `exact`: fp32, on the CPU, contiguous; `held`: of the same shape, what became of it.
std::optional<UnheldValue> first_unheld(const at::Tensor& exact, const at::Tensor& held);

/// "70000, beyond fp16, which ends at 65504", or "nan".
std::string described(const UnheldValue& unheld, const at::Tensor& held);

}  // namespace smp::runtime
