// A column of the metrics as a curve with few points.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace smp::launch {

struct CurvePoint {
    double step = 0;
    double value = 0;

    bool operator==(const CurvePoint&) const = default;
};

/// The finite values with their steps. Of more than 2·`buckets` of them, the least and the largest of each bucket of
/// equally many steps, in the order in which they came, and the first and the last: no peak is lost. `steps` ascend.
std::vector<CurvePoint> curve_of(std::span<const double> steps, std::span<const double> values,
                                 std::size_t buckets = 300);

/// Where curve_of() leaves values out: the mean of each bucket, at its middle. Empty where it keeps them all.
std::vector<CurvePoint> means_of(std::span<const double> steps, std::span<const double> values,
                                 std::size_t buckets = 300);

}  // namespace smp::launch
