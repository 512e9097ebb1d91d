#include "runtime/update/gradient_norm.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <stdexcept>

#include <ATen/Parallel.h>

namespace smp::runtime {

namespace {

constexpr int kLanes =
    8;  // partial sums of a block: fixed, so that the compiler may use vectors and the result does not depend on it

double block_sum(const float* values, std::int64_t count) {
    std::array<double, kLanes> lanes{};
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
        for (int lane = 0; lane < kLanes; ++lane)
            lanes[lane] += static_cast<double>(values[i + lane]) * static_cast<double>(values[i + lane]);
    for (; i < count; ++i) lanes[i % kLanes] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    return sum;
}

}  // namespace

ExactSum sum_of_squares(const at::Tensor& flat, std::span<const Range> counted, std::span<const Range> owned) {
    const float* values = flat.const_data_ptr<float>();
    ExactSum total;
    std::mutex merge;
    for (const Range& range : counted) {
        for (const Range& piece : owned) {
            const Range part = intersection(range, piece);
            if (part.size() == 0) continue;
            if (part.begin % kBlockElements != 0)
                throw std::logic_error("sum_of_squares: a range begins inside a block");
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
        }
    }
    return total;
}

double clip_factor(double norm, double max_norm) {
    return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace smp::runtime
