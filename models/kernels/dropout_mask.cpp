#include "models/kernels/dropout_mask.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace smp::models::kernels {

DropoutMask dropout_mask(const DropoutKey& key) {
    if (!(key.probability >= 0 && key.probability < 1))
        throw std::logic_error("dropout probability " + std::to_string(key.probability) + " is not in [0, 1)");
    const std::uint64_t place = std::uint64_t{key.layer} << 32 | static_cast<std::uint32_t>(key.site);
    return {.key = philox_key(mix(mix(mix(0, key.seed), key.step), place)),
            .threshold = static_cast<std::uint32_t>(std::min(std::nearbyint(key.probability * 0x1p32), 0x1p32 - 1)),
            .scale = static_cast<float>(1 / (1 - key.probability))};
}

void fill_dropout_row(float* mask, const DropoutMask& dropout, std::uint64_t sequence, std::uint32_t row,
                      std::int64_t columns) {
    for (std::int64_t c = 0; c < columns; ++c)
        mask[c] = dropout_bits(dropout.key, sequence, row, static_cast<std::uint32_t>(c)) >= dropout.threshold
                      ? dropout.scale
                      : 0.0F;
}

}  // namespace smp::models::kernels
