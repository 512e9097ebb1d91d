#include "runtime/flat_layout.h"

#include <algorithm>
#include <stdexcept>

namespace smp::runtime {

namespace {

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

Range intersection(const Range& a, const Range& b) {
    const std::int64_t begin = std::max(a.begin, b.begin);
    return {begin, std::max(begin, std::min(a.end, b.end))};
}

std::vector<Range> FlatLayout::owned(int shard) const {
    std::vector<Range> pieces;
    pieces.reserve(buckets.size());
    for (const Range& bucket : buckets) {
        const std::int64_t piece = bucket.size() / shards;
        pieces.push_back({bucket.begin + shard * piece, bucket.begin + (shard + 1) * piece});
    }
    return pieces;
}

FlatLayout lay_out(const std::vector<models::Parameter>& parameters, int shards, std::int64_t bucket_elements) {
    if (shards < 1 || bucket_elements < 1)
        throw std::logic_error("lay_out: shards and bucket_elements must be at least 1");
    FlatLayout layout;
    layout.shards = shards;
    std::int64_t end = 0;
    for (const models::Parameter& parameter : parameters) {
        const auto tied = std::find_if(parameters.begin(), parameters.end(),
                                       [&](const auto& other) { return other.name == parameter.tied_to; });
        if (tied != parameters.end()) {
            const auto partner = static_cast<int>(tied - parameters.begin());
            if (partner >= static_cast<int>(layout.places.size()))
                throw std::logic_error("lay_out: " + parameter.name + " comes before what it is tied to");
            layout.partner.push_back(partner);
            layout.places.push_back(layout.places[partner]);
            continue;
        }
        layout.partner.push_back(-1);
        layout.places.push_back({end, end + parameter.slice.local_numel()});
        end = round_up(layout.places.back().end, kBlockElements);
    }

    const std::int64_t quantum = kBlockElements * shards;
    const std::int64_t bucket = round_up(bucket_elements, quantum);
    layout.elements = round_up(end, quantum);
    for (std::int64_t begin = 0; begin < layout.elements; begin += bucket)
        layout.buckets.push_back({begin, std::min(begin + bucket, layout.elements)});
    return layout;
}

}  // namespace smp::runtime
