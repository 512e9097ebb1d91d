// A few numbers for many.
#pragma once

#include <vector>

namespace smp::launch {

/// Of measured values. Quartiles lie between neighbours where they must: at (n − 1) · q of the sorted values, counted
/// from 0.
struct Spread {
    double median = 0;
    double lower_quartile = 0, upper_quartile = 0;
    double least = 0, most = 0;

    /// Half of the distance between the quartiles.
    double half_range() const { return (upper_quartile - lower_quartile) / 2; }
};

/// Throws std::logic_error where there are no values.
Spread spread_of(std::vector<double> values);

}  // namespace smp::launch
