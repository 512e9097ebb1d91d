#include "runtime/stage/held_values.h"

#include <cmath>

#include <fmt/format.h>

namespace smp::runtime {

std::optional<UnheldValue> first_unheld(const at::Tensor& exact, const at::Tensor& held) {
    const at::Tensor back = held.scalar_type() == at::kFloat ? exact : held.cpu().to(at::kFloat).contiguous();
    const float *values = exact.const_data_ptr<float>(), *rounded = back.const_data_ptr<float>();
    for (std::int64_t i = 0; i < exact.numel(); ++i)
        if (!std::isfinite(rounded[i]))  // as is every value that is not finite before
            return UnheldValue{.element = i, .value = values[i], .is_finite = std::isfinite(values[i])};
    return std::nullopt;
}

std::string described(const UnheldValue& unheld, const at::Tensor& held) {
    if (!unheld.is_finite) return fmt::format("{}", unheld.value);
    const bool is_half = held.scalar_type() == at::kHalf;
    return fmt::format("{}, beyond {}, which ends at {}", unheld.value, is_half ? "fp16" : "bf16",
                       is_half ? "65504" : "3.39e+38");
}

}  // namespace smp::runtime
