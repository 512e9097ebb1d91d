#include "runtime/update/gradient_norm.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <stdexcept>

#include <ATen/Parallel.h>

#include "models/kernels/cuda/operators.h"
#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime {

namespace {

double block_sum(const float* values, std::int64_t count) {
    std::array<double, kBlockLanes> lanes{};
    std::int64_t i = 0;
    for (; i + kBlockLanes <= count; i += kBlockLanes)
        for (int lane = 0; lane < kBlockLanes; ++lane)
            lanes[lane] += static_cast<double>(values[i + lane]) * static_cast<double>(values[i + lane]);
    for (; i < count; ++i) lanes[i % kBlockLanes] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    return sum;
}

/// f(part) for what is counted here and owned.
template <class F>
void for_parts(std::span<const Range> counted, std::span<const Range> owned, const F& f) {
    for (const Range& range : counted) {
        for (const Range& piece : owned) {
            const Range part = intersection(range, piece);
            if (part.size() == 0) continue;
            if (part.begin % kBlockElements != 0)
                throw std::logic_error("sum_of_squares: a range begins inside a block");
            f(part);
        }
    }
}

}  // namespace

ExactSum sum_of_squares(const at::Tensor& flat, std::span<const Range> counted, std::span<const Range> owned) {
    const float* values = flat.const_data_ptr<float>();
    ExactSum total;
    std::mutex merge;
    for_parts(counted, owned, [&](const Range& part) {
        const std::int64_t blocks = (part.size() + kBlockElements - 1) / kBlockElements;
        at::parallel_for(0, blocks, 4096, [&](std::int64_t first, std::int64_t last) {
            ExactSum sum;
            for (std::int64_t block = first; block < last; ++block) {
                const std::int64_t begin = part.begin + block * kBlockElements;
                sum.add(block_sum(values + begin, std::min(kBlockElements, part.end - begin)));
            }
            const std::lock_guard lock(merge);
            total.add(sum);
        });
    });
    return total;
}

void add_sum_of_squares(const at::Tensor& words, const at::Tensor& flat, std::span<const Range> counted,
                        std::span<const Range> owned) {
    for_parts(counted, owned, [&](const Range& part) {
        cuda::add_squares(words.mutable_data_ptr<std::int64_t>(), flat.const_data_ptr<float>() + part.begin,
                          part.size(), models::kernels::cuda::stream_of(flat));
    });
}

}  // namespace smp::runtime
