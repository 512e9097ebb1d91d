// Sums and maxima, the plain way: element by element in the order of the inputs, 16 bits in fp32, rounded at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

namespace smp::standin {

/// `so_far`, where it is not null, comes ahead of the inputs; the result is carried where that is not null.
template <typename Narrow, typename Wide>
void combine(bool maximum, std::span<const void* const> inputs, std::span<void* const> outputs, std::int64_t numel,
             const Wide* so_far = nullptr, Wide* carried = nullptr) {
    for (std::int64_t i = 0; i < numel; ++i) {
        const auto value = [&](std::size_t input) {
            return static_cast<Wide>(static_cast<const Narrow*>(inputs[input])[i]);
        };
        Wide result = so_far != nullptr ? so_far[i] : value(0);
        for (std::size_t input = so_far != nullptr ? 0 : 1; input < inputs.size(); ++input) {
            const Wide other = value(input);
            if (!maximum)
                result += other;
            else if (other > result || other != other)
                result = other;
        }
        if (carried != nullptr) carried[i] = result;
        for (void* const output : outputs) static_cast<Narrow*>(output)[i] = static_cast<Narrow>(result);
    }
}

}  // namespace smp::standin
