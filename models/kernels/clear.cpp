#include <cstring>

#include <ATen/ops/empty.h>

#include "models/kernels/cuda/operators.h"
#include "models/kernels/kernels.h"

namespace smp::models::kernels {

void clear(const at::Tensor& x) {
    if (x.is_cuda()) return cuda::clear(x);
    std::memset(x.mutable_data_ptr(), 0, x.nbytes());  // 0 in every type
}

at::Tensor zeros(at::IntArrayRef shape, const at::TensorOptions& options) {
    at::Tensor x = at::empty(shape, options);
    clear(x);
    return x;
}

}  // namespace smp::models::kernels
