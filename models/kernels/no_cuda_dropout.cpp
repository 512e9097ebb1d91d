// Twin of cuda_dropout.cu for builds without CUDA.
#include <stdexcept>

#include "models/kernels/dropout_mask.h"

namespace smp::models::kernels {

void fill_dropout_mask_on_cuda(float*, const DropoutMask&, std::uint64_t, std::int64_t, std::uint32_t, std::int64_t,
                               std::int64_t, void*) {
    throw std::logic_error("a CUDA tensor in a build without CUDA");
}

}  // namespace smp::models::kernels
