// If these fail, collectives that are posted beside each other meet others on other ranks, use each other's memory, or
// hold more of it than the plan says.
#include "runtime/update/collective_lane.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <random>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "partition/plan/action_kinds.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using testing::on_local_ranks;

constexpr std::int64_t kElements = 5000;

at::Tensor gradients_of(int rank) {
    std::mt19937 random(rank + 1);
    std::normal_distribution<float> normal;
    at::Tensor tensor = at::empty({kElements});
    for (std::int64_t i = 0; i < kElements; ++i) tensor.data_ptr<float>()[i] = normal(random);
    return tensor;
}

struct Bucket {
    std::int64_t begin, size;
};
std::vector<Bucket> buckets() {
    std::vector<Bucket> all;
    for (std::int64_t begin = 0; begin < kElements; begin += 300)
        all.push_back({begin, std::min<std::int64_t>(300, kElements - begin)});
    return all;
}

TEST(CollectiveLane, AddsEveryBucketInRankOrderHoweverRanksAdvance) {
    for (const int ranks : {1, 2, 3}) {
        at::Tensor expected = gradients_of(0);
        for (int rank = 1; rank < ranks; ++rank) expected = expected + gradients_of(rank);
        on_local_ranks(ranks, [&](comms::Communicator& world) {
            const at::Tensor gradients = gradients_of(world.rank());
            CollectiveLane lane(world);
            std::mt19937 random(17 + world.rank());
            for (int round = 0; round < 20; ++round) {
                gradients.copy_(gradients_of(world.rank()));
                std::vector<comms::Work> works;
                for (const Bucket& bucket : buckets()) {
                    works.push_back(
                        lane.add("a bucket", [&world, part = gradients.narrow(0, bucket.begin, bucket.size)] {
                            return comms::all_reduce(world, part);
                        }));
                    // The rank is busy elsewhere, for another number of progress() calls each time.
                    for (auto i = random() % 8; i > 0; --i) world.progress();
                    if (random() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
                }
                if (random() % 2 == 0) std::reverse(works.begin(), works.end());
                for (comms::Work& work : works) {
                    while (random() % 2 == 0 && !work.test()) {}
                    work.wait();
                }
                ASSERT_TRUE(gradients.equal(expected)) << "rank " << world.rank() << ", round " << round;
            }
        });
    }
}

// Else the pieces of scratch that a plan gives reductions would be used by more of them. The other rank joins only when
// this one has begun all that it may.
TEST(CollectiveLane, BeginsInOrderAndNoMoreAtOnceThanThePlanSays) {
    std::promise<void> has_begun;
    auto begun_all = has_begun.get_future();
    on_local_ranks(2, [&](comms::Communicator& world) {
        if (world.rank() == 1) begun_all.wait();
        const at::Tensor gradients = gradients_of(world.rank());
        CollectiveLane lane(world);
        std::vector<int> begun;
        std::vector<comms::Work> works;
        for (const Bucket& bucket : buckets()) {
            const auto i = static_cast<int>(works.size());
            works.push_back(
                lane.add("a bucket", [&begun, &world, i, part = gradients.narrow(0, bucket.begin, bucket.size)] {
                    begun.push_back(i);
                    return comms::all_reduce(world, part);
                }));
        }
        if (world.rank() == 0) {
            for (int i = 0; i < 100; ++i) world.progress();
            EXPECT_EQ(begun.size(), static_cast<std::size_t>(partition::kDataCollectivesAtOnce));
            has_begun.set_value();
        }
        for (comms::Work& work : works) work.wait();
        EXPECT_TRUE(std::ranges::is_sorted(begun));
        EXPECT_EQ(begun.size(), works.size());
    });
}

// What was begun and never waited for, because something else failed, does not use a group that is gone.
TEST(CollectiveLane, MayGoWhileCollectivesAreInFlight) {
    EXPECT_THROW(
        on_local_ranks(2,
                       [&](comms::Communicator& world) {
                           auto group = world.split(0, world.rank(), "data");
                           const at::Tensor gradients = gradients_of(world.rank());
                           std::vector<comms::Work> works;
                           try {
                               CollectiveLane lane(*group);
                               for (const Bucket& bucket : buckets())
                                   works.push_back(lane.add(
                                       "a bucket", [&group, part = gradients.narrow(0, bucket.begin, bucket.size)] {
                                           return comms::all_reduce(*group, part);
                                       }));
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
