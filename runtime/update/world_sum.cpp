#include "runtime/update/world_sum.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include "models/kernels/kernels.h"

namespace smp::runtime {

StepLosses make_losses(std::size_t microbatches, at::Device device) {
    StepLosses losses{.of_microbatch = std::vector<models::Loss>(microbatches), .slots = {}};
    if (device.is_cpu()) return losses;
    losses.slots = models::kernels::zeros({static_cast<std::int64_t>(microbatches)},
                                          at::TensorOptions().dtype(at::kDouble).device(device));
    for (std::size_t i = 0; i < microbatches; ++i)
        losses.of_microbatch[i] = models::Loss(losses.slots.narrow(0, static_cast<std::int64_t>(i), 1));
    return losses;
}

ExactSum counted_losses(std::span<const models::Loss> losses, const partition::Coordinate& at) {
    ExactSum sum;
    if (at.tp != 0) return sum;
    for (const models::Loss& loss : losses) sum.add(loss.sum());
    return sum;
}

std::vector<double> sum_over_world(comms::Communicator& world, std::span<const ExactSum> sums) {
    const at::Tensor words = at::empty({static_cast<std::int64_t>(sums.size()), ExactSum::kWords}, at::kLong);
    auto* data = words.data_ptr<std::int64_t>();
    for (std::size_t i = 0; i < sums.size(); ++i) std::ranges::copy(sums[i].words(), data + i * ExactSum::kWords);
    comms::all_reduce(world, words).wait();
    std::vector<double> totals;
    for (std::size_t i = 0; i < sums.size(); ++i)
        totals.push_back(ExactSum::from_words({data + i * ExactSum::kWords, ExactSum::kWords}).value());
    return totals;
}

std::int64_t largest_over_world(comms::Communicator& world, std::int64_t value) {
    const at::Tensor largest = at::full({1}, value, at::kLong);
    comms::all_reduce(world, largest, comms::Reduction::max).wait();
    return largest.const_data_ptr<std::int64_t>()[0];
}

}  // namespace smp::runtime
