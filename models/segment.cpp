#include "models/segment.h"

#include <stdexcept>

#include <fmt/format.h>

namespace smp::models {

at::Tensor Segment::logits(const at::Tensor& /*input*/, std::int64_t /*first*/, std::int64_t /*count*/) {
    throw std::logic_error(fmt::format("{} is no head and has no logits", name()));
}

}  // namespace smp::models
