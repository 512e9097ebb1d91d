// Twins of the .cu files for builds without CUDA, where no CUDA tensor can be.
#include <stdexcept>

#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime::cuda {

void add_squares(std::int64_t*, const float*, std::int64_t, void*) {
    throw std::logic_error("a CUDA tensor in a build without CUDA");
}

void mark_non_finite(std::int32_t*, models::kernels::ConstElements, std::int64_t, void*) {
    throw std::logic_error("a CUDA tensor in a build without CUDA");
}

void close_sums(std::int64_t*, const double*, std::int64_t, void*) {
    throw std::logic_error("a CUDA tensor in a build without CUDA");
}

void decide(StepDecision*, const std::int64_t*, const StepRule&, void*) {
    throw std::logic_error("a CUDA tensor in a build without CUDA");
}

void adamw(const AdamWBuffers&, std::int64_t, const AdamWStep&, const StepDecision*, void*) {
    throw std::logic_error("a CUDA tensor in a build without CUDA");
}

}  // namespace smp::runtime::cuda
