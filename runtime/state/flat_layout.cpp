#include "runtime/state/flat_layout.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "partition/job/flat_padding.h"

namespace smp::runtime {

using partition::round_up;

Range intersection(const Range& a, const Range& b) {
    const std::int64_t begin = std::max(a.begin, b.begin);
    return {begin, std::max(begin, std::min(a.end, b.end))};
}

Range FlatLayout::piece(const Range& bucket, int shard) const {
    const std::int64_t size = bucket.size() / shards;
    return {bucket.begin + shard * size, bucket.begin + (shard + 1) * size};
}

std::vector<Range> FlatLayout::owned(int shard) const {
    std::vector<Range> pieces;
    pieces.reserve(buckets.size());
    for (const Range& bucket : buckets) pieces.push_back(piece(bucket, shard));
    return pieces;
}

std::span<const Range> FlatLayout::buckets_of(int section) const {
    const Range& indices = bucket_indices.at(section);
    return std::span(buckets).subspan(indices.begin, indices.size());
}

FlatLayout lay_out(std::span<const std::vector<models::Parameter>> chunks, int shards, std::int64_t bucket_elements,
                   partition::Precision precision) {
    if (shards < 1 || bucket_elements < 1)
        throw std::logic_error("lay_out: shards and bucket_elements must be at least 1");
    FlatLayout layout;
    layout.shards = shards;
    std::vector<std::string> names;
    for (const auto& chunk : chunks)
        for (const models::Parameter& parameter : chunk) names.push_back(parameter.name);

    const std::int64_t alignment = partition::flat_alignment(precision);  // blocks of gradients
    const std::int64_t quantum = partition::flat_multiple(precision, shards);
    const std::int64_t bucket = round_up(bucket_elements, quantum);
    for (const auto& chunk : chunks) {
        std::int64_t end = layout.elements;
        for (const models::Parameter& parameter : chunk) {
            const auto tied = std::find(names.begin(), names.end(), parameter.tied_to);
            if (tied != names.end()) {
                const auto partner = static_cast<int>(tied - names.begin());
                if (partner >= static_cast<int>(layout.places.size()))
                    throw std::logic_error("lay_out: " + parameter.name + " comes before what it is tied to");
                layout.partner.push_back(partner);
                layout.places.push_back(layout.places[partner]);
                continue;
            }
            layout.partner.push_back(-1);
            layout.places.push_back({end, end + parameter.slice.local_numel()});
            end = round_up(layout.places.back().end, alignment);
        }
        const auto first_bucket = static_cast<std::int64_t>(layout.buckets.size());
        const std::int64_t section_end = layout.elements + round_up(end - layout.elements, quantum);
        for (std::int64_t begin = layout.elements; begin < section_end; begin += bucket)
            layout.buckets.push_back({begin, std::min(begin + bucket, section_end)});
        layout.bucket_indices.push_back({first_bucket, static_cast<std::int64_t>(layout.buckets.size())});
        layout.elements = section_end;
    }
    return layout;
}

}  // namespace smp::runtime
