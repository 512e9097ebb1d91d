#include "launch/report/curve.h"

#include <algorithm>
#include <cmath>

namespace smp::launch {

namespace {

std::vector<CurvePoint> finite(std::span<const double> steps, std::span<const double> values) {
    std::vector<CurvePoint> all;
    for (std::size_t i = 0; i < values.size(); ++i)
        if (std::isfinite(values[i])) all.push_back({steps[i], values[i]});
    return all;
}

/// Calls `bucket` with the points of each that has some, in order.
template <typename Bucket>
void for_each_bucket(const std::vector<CurvePoint>& all, std::size_t buckets, const Bucket& bucket) {
    const double first = all.front().step, width = (all.back().step - first) / static_cast<double>(buckets);
    const auto bucket_of = [&](const CurvePoint& point) {
        return width > 0 ? std::min(buckets - 1, static_cast<std::size_t>((point.step - first) / width)) : 0;
    };
    for (auto begin = all.cbegin(); begin != all.cend();) {
        const auto end = std::find_if(
            begin, all.cend(), [&, own = bucket_of(*begin)](const auto& point) { return bucket_of(point) != own; });
        bucket(std::span(begin, end));
        begin = end;
    }
}

}  // namespace

std::vector<CurvePoint> curve_of(std::span<const double> steps, std::span<const double> values, std::size_t buckets) {
    const std::vector<CurvePoint> all = finite(steps, values);
    if (all.size() <= 2 * buckets) return all;
    std::vector<CurvePoint> kept = {all.front()};
    const auto keep = [&](const CurvePoint& point) {
        if (kept.back() != point) kept.push_back(point);
    };
    for_each_bucket(all, buckets, [&](std::span<const CurvePoint> points) {
        const auto [least, largest] = std::ranges::minmax_element(points, {}, &CurvePoint::value);
        keep(*std::min(least, largest));
        keep(*std::max(least, largest));
    });
    keep(all.back());
    return kept;
}

std::vector<CurvePoint> means_of(std::span<const double> steps, std::span<const double> values, std::size_t buckets) {
    const std::vector<CurvePoint> all = finite(steps, values);
    std::vector<CurvePoint> means;
    if (all.size() <= 2 * buckets) return means;
    for_each_bucket(all, buckets, [&](std::span<const CurvePoint> points) {
        double sum = 0;
        for (const CurvePoint& point : points) sum += point.value;
        means.push_back({(points.front().step + points.back().step) / 2, sum / static_cast<double>(points.size())});
    });
    return means;
}

}  // namespace smp::launch
