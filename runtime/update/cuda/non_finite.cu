#include <cmath>

#include "models/kernels/cuda/launch.h"
#include "models/kernels/cuda/stored.h"
#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime::cuda {

namespace {

using namespace models::kernels::cuda;

constexpr int kThreads = 256;

template <class T>
__global__ void marking(std::int32_t* mark, const T* values, std::int64_t count) {
    const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    const float largest = 3.402823466e38F;  // of fp32; comparisons with what is no number are false
    if (i < count && !(fabsf(to_float(values[i])) <= largest)) *mark = 1;  // whoever writes it writes the same
}

}  // namespace

void mark_non_finite(std::int32_t* mark, models::kernels::ConstElements values, std::int64_t count, void* stream) {
    with_type(values.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(marking<T>, blocks_for(count, kThreads), kThreads, stream, mark, as<T>(values), count);
    });
}

}  // namespace smp::runtime::cuda
