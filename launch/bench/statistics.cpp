#include "launch/bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

namespace smp::launch {

namespace {

double quantile(const std::vector<double>& sorted, double q) {
    const double at = static_cast<double>(sorted.size() - 1) * q;
    const auto below = static_cast<std::size_t>(std::floor(at));
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Spread spread_of(std::vector<double> values) {
    if (values.empty()) throw std::logic_error("spread_of: there are no values");
    std::sort(values.begin(), values.end());
    return {.median = quantile(values, 0.5),
            .lower_quartile = quantile(values, 0.25),
            .upper_quartile = quantile(values, 0.75),
            .least = values.front(),
            .most = values.back()};
}

}  // namespace smp::launch
