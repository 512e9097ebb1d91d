#include "runtime/state/flat_layout.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

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

FlatLayout lay_out(std::span<const std::vector<models::Parameter>> chunks, int shards,
                   std::span<const partition::FlatSection> sections, partition::Precision precision) {
    if (shards < 1 || sections.size() != chunks.size())
        throw std::logic_error("lay_out: shards must be at least 1, and each chunk has a section");
    FlatLayout layout;
    layout.shards = shards;
    std::vector<std::string> names;
    for (const auto& chunk : chunks)
        for (const models::Parameter& parameter : chunk) names.push_back(parameter.name);

    const std::int64_t alignment = partition::flat_alignment(precision);  // blocks of gradients
    const std::int64_t quantum = partition::flat_multiple(precision, shards);
    for (std::size_t i = 0; i < chunks.size(); ++i) {
        const partition::FlatSection& section = sections[i];
        std::int64_t end = layout.elements;
        for (const models::Parameter& parameter : chunks[i]) {
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
        const std::int64_t begin = layout.elements, elements = round_up(end - begin, quantum);
        if (section.elements != elements || section.bucket_elements % quantum != 0)
            throw std::logic_error(fmt::format(
                "lay_out: a section of {} elements in buckets of {}, where its parameters take {} and buckets are "
                "multiples of {}",
                section.elements, section.bucket_elements, elements, quantum));
        const auto first_bucket = static_cast<std::int64_t>(layout.buckets.size());
        for (const partition::BucketId bucket : section.bucket_ids()) {
            const std::int64_t bucket_begin = begin + section.begin_of(bucket);
            layout.buckets.push_back({bucket_begin, bucket_begin + section.elements_of(bucket)});
        }
        layout.bucket_indices.push_back({first_bucket, static_cast<std::int64_t>(layout.buckets.size())});
        layout.elements += elements;
    }
    return layout;
}

}  // namespace smp::runtime
