#include "runtime/update/step_sums.h"

#include <ATen/ops/empty.h>

#include "models/kernels/cuda/operators.h"
#include "models/kernels/kernels.h"
#include "runtime/state/exact_sum.h"
#include "runtime/update/gradient_norm.h"

namespace smp::runtime {

StepSums::StepSums(comms::Communicator& everyone, const comms::RankDevice& device)
    : everyone_(everyone), device_(device) {
    const auto options = at::TensorOptions().device(device.device());
    words_ = at::empty({2, ExactSum::kWords}, options.dtype(at::kLong));
    decision_ = at::empty({static_cast<std::int64_t>(sizeof(cuda::StepDecision))}, options.dtype(at::kByte));
    here_ = device.host_memory(static_cast<std::int64_t>(words_.nbytes())).view(at::kLong).view(words_.sizes());
}

const cuda::StepDecision* StepSums::decide(const Terms& terms, const cuda::StepRule& rule) {
    void* const stream = models::kernels::cuda::stream_of(words_);
    auto* const words = words_.mutable_data_ptr<std::int64_t>();
    models::kernels::clear(words_);
    add_sum_of_squares(words_[1], terms.gradients, terms.counted, terms.owned);
    const bool counts = terms.losses.defined();
    cuda::close_sums(words, counts ? terms.losses.const_data_ptr<double>() : nullptr, counts ? terms.losses.numel() : 0,
                     stream);
    comms::all_reduce(everyone_, words_).join();
    device_.copy(here_, words_);
    auto* const decision = static_cast<cuda::StepDecision*>(decision_.mutable_data_ptr());
    cuda::decide(decision, words, rule, stream);
    return decision;
}

std::array<double, 2> StepSums::totals() const {
    const auto* const words = here_.const_data_ptr<std::int64_t>();
    const auto total = [&](int sum) {
        return ExactSum::from_words({words + sum * ExactSum::kWords, ExactSum::kWords}).value();
    };
    return {total(0), total(1)};
}

}  // namespace smp::runtime
