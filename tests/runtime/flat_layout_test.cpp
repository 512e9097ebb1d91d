// If these fail, parameters overlap, a shard is cut inside a block of the norm, or a bucket is left out of the
// reduction.
#include "runtime/flat_layout.h"

#include <random>

#include <gtest/gtest.h>

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

TEST(FlatLayout, EveryElementHasOnePlaceAndOneOwner) {
    std::mt19937 random(1);
    for (int round = 0; round < 500; ++round) {
        const int shards = 1 + static_cast<int>(random() % 5);
        std::vector<models::Parameter> parameters;
        for (int i = 0; i < 1 + static_cast<int>(random() % 9); ++i)
            parameters.push_back(parameter(std::to_string(i), 1 + random() % 1000));
        const FlatLayout layout = lay_out(parameters, shards, 1 + random() % 2000);

        std::int64_t end = 0;
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            ASSERT_EQ(layout.places[i].begin % kBlockElements, 0);
            ASSERT_GE(layout.places[i].begin, end);
            ASSERT_EQ(layout.places[i].size(), parameters[i].slice.local_numel());
            end = layout.places[i].end;
        }
        ASSERT_GE(layout.elements, end);

        std::vector<int> owners(layout.elements, 0);
        for (int shard = 0; shard < shards; ++shard)
            for (const Range& piece : layout.owned(shard)) {
                ASSERT_EQ(piece.begin % kBlockElements, 0);
                for (auto i = piece.begin; i < piece.end; ++i) ++owners[i];
            }
        for (const int count : owners) ASSERT_EQ(count, 1);
    }
}

TEST(FlatLayout, ATiedParameterUsesItsPartnersPlaceOnTheSameRankOnly) {
    const FlatLayout both =
        lay_out({parameter("wte.weight", 100), parameter("lm_head.weight", 100, "wte.weight")}, 1, 1000);
    EXPECT_EQ(both.partner, (std::vector<int>{-1, 0}));
    EXPECT_EQ(both.places[1], both.places[0]);
    EXPECT_EQ(both.elements, 128);
    const FlatLayout head_only = lay_out({parameter("lm_head.weight", 100, "wte.weight")}, 1, 1000);
    EXPECT_EQ(head_only.partner, (std::vector<int>{-1}));
    EXPECT_EQ(head_only.elements, 128);
}

}  // namespace
}  // namespace smp::runtime
