#include "runtime/update/non_finite_marks.h"

#include <algorithm>
#include <span>
#include <stdexcept>

#include <ATen/ops/all.h>
#include <ATen/ops/isfinite.h>

#include "models/kernels/cuda/operators.h"
#include "models/kernels/kernels.h"
#include "models/kernels/own_kernels.h"
#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime {

namespace kernels = models::kernels;

NonFiniteMarks::NonFiniteMarks(const RankGroups& groups, std::size_t count)
    : groups_(groups),
      marks_(kernels::zeros({static_cast<std::int64_t>(count)},
                            at::TensorOptions(at::kInt).device(groups.device->device()))) {}

void NonFiniteMarks::look(std::size_t mark, const at::Tensor& tensor) {
    if (!tensor.is_contiguous()) throw std::logic_error("NonFiniteMarks: a tensor that is not contiguous");
    std::int32_t* const set = marks_.mutable_data_ptr<std::int32_t>() + mark;
    if (tensor.is_cuda())
        cuda::mark_non_finite(set, kernels::elements(tensor), tensor.numel(), kernels::cuda::stream_of(tensor));
    else if (!at::isfinite(tensor).all().item<bool>())
        *set = 1;
}

at::Tensor NonFiniteMarks::marks_here() const {
    if (marks_.is_cpu()) return marks_;
    const at::Tensor here =
        groups_.device->host_memory(static_cast<std::int64_t>(marks_.nbytes())).view(at::kInt).view(marks_.sizes());
    groups_.device->copy(here, marks_);
    groups_.finish("the search for numbers that are not finite");
    return here;
}

std::optional<std::size_t> NonFiniteMarks::first() const {
    const at::Tensor here = marks_here();
    const std::span marks(here.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(here.numel()));
    const auto set = std::ranges::find(marks, 1);
    if (set == marks.end()) return std::nullopt;
    return static_cast<std::size_t>(set - marks.begin());
}

std::optional<std::size_t> NonFiniteMarks::last() const {
    const at::Tensor here = marks_here();
    const std::span marks(here.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(here.numel()));
    const auto set = std::find(marks.rbegin(), marks.rend(), 1);
    if (set == marks.rend()) return std::nullopt;
    return static_cast<std::size_t>(marks.rend() - set) - 1;
}

}  // namespace smp::runtime
