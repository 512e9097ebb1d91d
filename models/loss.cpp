#include "models/kernels/kernels.h"
#include "models/segment.h"

namespace smp::models {

void Loss::add(const at::Tensor& sums) {
    if (slot_.defined())
        kernels::add_cross_entropy(slot_, sums);
    else
        sum_ += kernels::cross_entropy_sum(sums);
}

double Loss::sum() const { return slot_.defined() ? *slot_.cpu().const_data_ptr<double>() : sum_; }

}  // namespace smp::models
