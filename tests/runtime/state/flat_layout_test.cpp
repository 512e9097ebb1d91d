// If these fail, parameters overlap, a shard is cut inside a block of the norm, or a bucket is left out of the
// reduction.
#include "runtime/state/flat_layout.h"

#include <random>
#include <set>

#include <gtest/gtest.h>

#include "partition/job/flat_padding.h"

namespace smp::runtime {
namespace {

models::Parameter parameter(const std::string& name, std::int64_t elements, const std::string& tied_to = "") {
    return {.name = name,
            .global_shape = {elements},
            .local_shape = {elements},
            .slice = models::whole(elements),
            .initialisation = {},
            .tied_to = tied_to};
}

/// As a plan has them, in buckets of about so many elements.
std::vector<partition::FlatSection> sections_of(const std::vector<std::vector<models::Parameter>>& chunks, int shards,
                                                std::int64_t bucket_elements,
                                                partition::Precision precision = partition::Precision::fp32) {
    const std::int64_t multiple = partition::flat_multiple(precision, shards);
    std::vector<partition::FlatSection> sections;
    std::set<std::string> seen;
    for (const auto& chunk : chunks) {
        std::int64_t elements = 0;
        for (const models::Parameter& parameter : chunk) {
            seen.insert(parameter.name);
            if (seen.contains(parameter.tied_to)) continue;
            elements += partition::round_up(parameter.slice.local_numel(), partition::flat_alignment(precision));
        }
        sections.push_back({.elements = partition::round_up(elements, multiple),
                            .bucket_elements = partition::round_up(bucket_elements, multiple)});
    }
    return sections;
}

FlatLayout lay_out_in(const std::vector<std::vector<models::Parameter>>& chunks, int shards,
                      std::int64_t bucket_elements, partition::Precision precision = partition::Precision::fp32) {
    return lay_out(chunks, shards, sections_of(chunks, shards, bucket_elements, precision), precision);
}

TEST(FlatLayout, EveryElementHasOnePlaceAndOneOwner) {
    std::mt19937 random(1);
    for (int round = 0; round < 500; ++round) {
        const int shards = 1 + static_cast<int>(random() % 5);
        std::vector<std::vector<models::Parameter>> chunks(1 + random() % 4);
        std::vector<models::Parameter> parameters;
        for (auto& chunk : chunks) {
            for (int i = 0; i < static_cast<int>(random() % 6); ++i) {
                chunk.push_back(parameter(std::to_string(parameters.size()), 1 + random() % 1000));
                parameters.push_back(chunk.back());
            }
        }
        const auto precision = random() % 2 == 0 ? partition::Precision::fp32 : partition::Precision::bf16;
        const FlatLayout layout = lay_out_in(chunks, shards, 1 + random() % 2000, precision);

        std::int64_t end = 0;
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            ASSERT_EQ(layout.places[i].begin % kBlockElements, 0);
            ASSERT_EQ(layout.places[i].begin * partition::value_bytes(precision) % 256, 0);
            ASSERT_GE(layout.places[i].begin, end);
            ASSERT_EQ(layout.places[i].size(), parameters[i].slice.local_numel());
            end = layout.places[i].end;
        }
        ASSERT_GE(layout.elements, end);

        std::vector<int> owners(layout.elements, 0);
        for (int shard = 0; shard < shards; ++shard)
            for (const Range& piece : layout.owned(shard)) {
                ASSERT_EQ(piece.begin % kBlockElements, 0);
                ASSERT_EQ(piece.begin * partition::value_bytes(precision) % 256, 0);
                for (auto i = piece.begin; i < piece.end; ++i) ++owners[i];
            }
        for (const int count : owners) ASSERT_EQ(count, 1);
    }
}

// Else the reduction of one chunk would touch gradients that another one still adds to.
TEST(FlatLayout, BucketsOfAChunkHoldItsParametersAndNoOthers) {
    std::mt19937 random(2);
    for (int round = 0; round < 500; ++round) {
        std::vector<std::vector<models::Parameter>> chunks(1 + random() % 4);
        for (auto& chunk : chunks)
            for (int i = 0; i < static_cast<int>(random() % 6); ++i)
                chunk.push_back(parameter(std::to_string(random()), 1 + random() % 1000));
        const FlatLayout layout = lay_out_in(chunks, 1 + static_cast<int>(random() % 5), 1 + random() % 2000);
        std::int64_t end = 0;
        std::size_t next = 0;
        for (int section = 0; section < static_cast<int>(chunks.size()); ++section) {
            const std::int64_t begin = end;
            for (const Range& bucket : layout.buckets_of(section)) {
                ASSERT_EQ(bucket.begin, end);
                ASSERT_EQ(bucket.size() > 0, !chunks[section].empty());
                end = bucket.end;
            }
            for (std::size_t i = 0; i < chunks[section].size(); ++i, ++next) {
                ASSERT_GE(layout.places[next].begin, begin);
                ASSERT_LE(layout.places[next].end, end);
            }
        }
        ASSERT_EQ(end, layout.elements);
    }
}

TEST(FlatLayout, ATiedParameterUsesItsPartnersPlaceOnTheSameRankOnly) {
    const auto wte = parameter("wte.weight", 100), head = parameter("lm_head.weight", 100, "wte.weight");
    using Chunks = std::vector<std::vector<models::Parameter>>;
    const Chunks one_chunk = {{wte, head}}, two_chunks = {{wte}, {head}};
    for (const Chunks& chunks : {one_chunk, two_chunks}) {
        const FlatLayout both = lay_out_in(chunks, 1, 1000);
        EXPECT_EQ(both.partner, (std::vector<int>{-1, 0}));
        EXPECT_EQ(both.places[1], both.places[0]);
        EXPECT_EQ(both.elements, 128);
        EXPECT_EQ(both.buckets_of(0).size(), 1U);
    }
    EXPECT_TRUE(lay_out_in(two_chunks, 1, 1000).buckets_of(1).front().size() == 0);
    EXPECT_THROW(lay_out_in(Chunks{{head}, {wte}}, 1, 1000), std::logic_error);
    const FlatLayout head_only = lay_out_in(Chunks{{head}}, 1, 1000);
    EXPECT_EQ(head_only.partner, (std::vector<int>{-1}));
    EXPECT_EQ(head_only.elements, 128);
}

// The plan has proven collectives over other buckets than these.
TEST(FlatLayout, RefusesSectionsThatAreNotThoseOfItsParameters) {
    const std::vector<std::vector<models::Parameter>> chunks = {{parameter("a", 300)}};
    EXPECT_EQ(lay_out(chunks, 2, std::vector<partition::FlatSection>{{384, 128}}).buckets.size(), 3U);
    for (const partition::FlatSection& wrong : {partition::FlatSection{512, 0}, {256, 0}, {384, 64}, {384, 100}})
        EXPECT_THROW(lay_out(chunks, 2, std::vector{wrong}), std::logic_error);
    EXPECT_THROW(lay_out(chunks, 2, std::vector<partition::FlatSection>{}), std::logic_error);
}

}  // namespace
}  // namespace smp::runtime
