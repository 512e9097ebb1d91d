#include "launch/report/curve.h"

#include <algorithm>
#include <cmath>

namespace smp::launch {

std::vector<CurvePoint> curve_of(std::span<const double> steps, std::span<const double> values, std::size_t buckets) {
    std::vector<CurvePoint> all;
    for (std::size_t i = 0; i < values.size(); ++i)
        if (std::isfinite(values[i])) all.push_back({steps[i], values[i]});
    if (all.size() <= 2 * buckets) return all;
    const double first = all.front().step, width = (all.back().step - first) / static_cast<double>(buckets);
    const auto bucket_of = [&](const CurvePoint& point) {
        return width > 0 ? std::min(buckets - 1, static_cast<std::size_t>((point.step - first) / width)) : 0;
    };
    std::vector<CurvePoint> kept = {all.front()};
    const auto keep = [&](const CurvePoint& point) {
        if (kept.back() != point) kept.push_back(point);
    };
    for (auto begin = all.cbegin(); begin != all.cend();) {
        const auto end = std::find_if(begin, all.cend(),
                                      [&, own = bucket_of(*begin)](const auto& p) { return bucket_of(p) != own; });
        const auto [least, largest] =
            std::minmax_element(begin, end, [](const auto& a, const auto& b) { return a.value < b.value; });
        keep(*std::min(least, largest));
        keep(*std::max(least, largest));
        begin = end;
    }
    keep(all.back());
    return kept;
}

}  // namespace smp::launch
