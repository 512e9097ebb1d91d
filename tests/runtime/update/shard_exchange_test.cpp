// If these fail, gradients that are reduced beside each other mix, or are added in another order than that of the
// ranks.
#include "runtime/update/shard_exchange.h"

#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using testing::on_local_ranks;

models::Parameter parameter(const std::string& name, std::int64_t elements) {
    return {.name = name,
            .global_shape = {elements},
            .local_shape = {elements},
            .slice = models::whole(elements),
            .initialisation = {},
            .tied_to = ""};
}

/// Three sections, the last of which has nothing; 9 and 14 buckets for 3 ranks.
FlatLayout layout_for(int shards) {
    const std::vector<std::vector<models::Parameter>> chunks = {
        {parameter("a", 5000)}, {parameter("b", 3000), parameter("c", 5001)}, {}};
    return lay_out(chunks, shards, 600);
}

at::Tensor gradients_of(int rank, std::int64_t elements) {
    std::mt19937 random(rank + 1);
    std::normal_distribution<float> normal;
    at::Tensor tensor = at::empty({elements});
    for (std::int64_t i = 0; i < elements; ++i) tensor.data_ptr<float>()[i] = normal(random);
    return tensor;
}

TEST(ShardExchange, AddsEverySectionInRankOrderHoweverRanksAdvance) {
    for (const int ranks : {1, 2, 3}) {
        const FlatLayout layout = layout_for(ranks);
        at::Tensor expected = gradients_of(0, layout.elements);
        for (int rank = 1; rank < ranks; ++rank) expected = expected + gradients_of(rank, layout.elements);
        on_local_ranks(ranks, [&](comms::Communicator& world) {
            const at::Tensor gradients = gradients_of(world.rank(), layout.elements);
            ShardExchange exchange(world, layout);
            std::mt19937 random(17 + world.rank());
            for (int round = 0; round < 20; ++round) {
                gradients.copy_(gradients_of(world.rank(), layout.elements));
                comms::Work second = exchange.all_reduce(gradients, 1), third = exchange.all_reduce(gradients, 2);
                // The rank is busy elsewhere, for another number of progress() calls each time.
                for (auto i = random() % 30; i > 0; --i) world.progress();
                comms::Work first = exchange.all_reduce(gradients, 0);
                if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
                third.wait();
                if (random() % 2 == 0) {
                    first.wait();
                    second.wait();
                } else {
                    while (!second.test()) {}
                    second.wait();
                    first.wait();
                }
                ASSERT_TRUE(gradients.equal(expected)) << "rank " << world.rank() << ", round " << round;
            }
        });
    }
}

TEST(ShardExchange, ReducesToTheOwnersAndGathersFromThem) {
    const FlatLayout layout = layout_for(3);
    at::Tensor expected = gradients_of(0, layout.elements);
    for (int rank = 1; rank < 3; ++rank) expected = expected + gradients_of(rank, layout.elements);
    on_local_ranks(3, [&](comms::Communicator& world) {
        const at::Tensor gradients = gradients_of(world.rank(), layout.elements);
        ShardExchange exchange(world, layout);
        comms::Work second = exchange.reduce_scatter(gradients, 1), first = exchange.reduce_scatter(gradients, 0);
        second.wait();
        first.wait();
        for (const Range& piece : layout.owned(world.rank())) {
            const auto part = [&](const at::Tensor& flat) { return flat.narrow(0, piece.begin, piece.size()); };
            ASSERT_TRUE(part(gradients).equal(part(expected))) << "rank " << world.rank() << " at " << piece.begin;
        }
        EXPECT_FALSE(gradients.equal(expected));
        first = exchange.gather(gradients, 0);
        second = exchange.gather(gradients, 1);
        first.wait();
        second.wait();
        EXPECT_TRUE(gradients.equal(expected));
    });
}

// A chunk's reduction runs while others still add to theirs.
TEST(ShardExchange, TouchesItsSectionAlone) {
    const FlatLayout layout = layout_for(2);
    on_local_ranks(2, [&](comms::Communicator& world) {
        const at::Tensor gradients = gradients_of(world.rank(), layout.elements);
        ShardExchange exchange(world, layout);
        comms::Work second = exchange.all_reduce(gradients, 1);
        second.wait();
        const std::int64_t first_end = layout.buckets_of(0).back().end;
        const at::Tensor own = gradients_of(world.rank(), layout.elements);
        EXPECT_TRUE(gradients.narrow(0, 0, first_end).equal(own.narrow(0, 0, first_end)));
        EXPECT_FALSE(gradients.equal(own));
    });
}

// What was begun and never waited for, because something else failed, does not use an exchange that is gone.
TEST(ShardExchange, MayGoWhileBucketsAreInFlight) {
    const FlatLayout layout = layout_for(2);
    EXPECT_THROW(on_local_ranks(2,
                                [&](comms::Communicator& world) {
                                    auto group = world.split(0, world.rank(), "data");
                                    const at::Tensor gradients = gradients_of(world.rank(), layout.elements);
                                    try {
                                        ShardExchange exchange(*group, layout);
                                        const comms::Work work = exchange.all_reduce(gradients, 0);
                                        throw std::logic_error("something else");
                                    } catch (const std::logic_error&) {
                                        group.reset();
                                        for (int i = 0; i < 100; ++i) world.progress();
                                        throw;
                                    }
                                }),
                 std::logic_error);
}

}  // namespace
}  // namespace smp::runtime
