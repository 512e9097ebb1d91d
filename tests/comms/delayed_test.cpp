#include "comms/backends/delayed.h"

#include <ctime>

#include "tests/comms/worlds.h"

namespace smp::comms {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

void on_delayed_ranks(int ranks, const Link& link, const std::function<void(Communicator&)>& body) {
    on_local_ranks(ranks, [&](Communicator& world) {
        const auto group = delayed(world.split(0, world.rank(), "linked"), link);
        body(*group);
    });
}

/// Processor time of this thread.
std::chrono::nanoseconds busy() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

TEST(Delayed, MessagesArriveRightAndInOrderButNotBeforeTheirTime) {
    on_delayed_ranks(2, {.latency = milliseconds(60)}, [](Communicator& group) {
        constexpr int kMessages = 8;
        const int peer = 1 - group.rank();
        const Clock::time_point start = Clock::now();  // the peer sends after this
        group.barrier();
        std::vector<at::Tensor> received;
        std::vector<Work> works;
        for (int message = 0; message < kMessages; ++message) {
            received.push_back(at::zeros({100 + message}));
            works.push_back(group.receive(received.back(), peer));
            works.push_back(group.send(random_tensor(100 + message, at::kFloat, 10 * group.rank() + message), peer));
        }
        const auto busy_before = busy();
        const Clock::time_point waits_from = Clock::now();
        for (Work& work : works) work.wait();
        const Clock::time_point end = Clock::now();
        EXPECT_GE(end - start, milliseconds(60));
        // Waiting is not spinning; that others hold this thread up makes the waits longer, not the work.
        if (end - waits_from > milliseconds(30)) {
            EXPECT_LT(busy() - busy_before, (end - waits_from) / 2);
        }
        for (int message = 0; message < kMessages; ++message)
            EXPECT_TRUE(same_bits(received[message], random_tensor(100 + message, at::kFloat, 10 * peer + message)));
        group.barrier();
    });
}

TEST(Delayed, TheLinkCarriesOneMessageAfterTheOther) {
    // 4 messages of 40 kB at 4 MB/s: 10 ms each.
    on_delayed_ranks(2, {.bytes_per_second = 4e6}, [](Communicator& group) {
        const at::Tensor tensor = at::zeros({10'000});
        if (group.rank() == 0) {
            const Clock::time_point start = Clock::now();
            const at::Tensor start_time = at::full({1}, start.time_since_epoch().count(), at::kLong);
            std::vector<Work> works;
            works.push_back(group.send(start_time, 1));
            for (int message = 0; message < 4; ++message) works.push_back(group.send(tensor, 1));
            for (Work& work : works) work.wait();
        } else {
            const at::Tensor start_time = at::zeros({1}, at::kLong);
            group.receive(start_time, 0).wait();
            for (int message = 0; message < 4; ++message) group.receive(tensor, 0).wait();
            const Clock::time_point start{Clock::duration(start_time.item<std::int64_t>())};
            EXPECT_GE(Clock::now() - start, milliseconds(40));
        }
    });
}

TEST(Delayed, SplitsAreDelayedAndCollectivesAreNot) {
    on_delayed_ranks(2, {.latency = std::chrono::minutes(10)}, [](Communicator& group) {
        const auto part = group.split(0, 0, "part");
        const at::Tensor one = at::ones({1});
        all_reduce(*part, one).wait();
        EXPECT_EQ(one.item<double>(), 2);
        const at::Tensor tensor = at::zeros({1});
        if (part->rank() == 0) part->send(one, 1).wait();
        if (part->rank() == 1) {
            part->set_limit({milliseconds(50)});
            EXPECT_THROW(part->receive(tensor, 0).wait(), CommunicationError);
        }
    });
}

TEST(Delayed, CollectivesTakeWhatTheirBytesTakeOneAfterTheOther) {
    // 4 ranks, 40,000 bytes: 30,000 leave each rank for a reduce-scatter, twice as much for an all-reduce.
    on_delayed_ranks(4, {.collective_bytes_per_second = 1e6}, [](Communicator& group) {
        const at::Tensor all = at::ones({10000}), own = at::empty({2500});
        group.barrier();
        const auto start = Clock::now();
        Work first = reduce_scatter(group, own, all);
        Work second = all_reduce(group, all);
        first.wait();
        EXPECT_GE(Clock::now() - start, milliseconds(30));
        second.wait();
        EXPECT_GE(Clock::now() - start, milliseconds(90));
        EXPECT_EQ(own[0].item<double>(), 4);
        EXPECT_EQ(all[9999].item<double>(), 4);
        const auto middle = Clock::now();
        group.all_gather(all, own).wait();
        EXPECT_GE(Clock::now() - middle, milliseconds(30));
    });
}

TEST(Delayed, WhatElseIsInFlightMovesOnWhileAMessageIsUnderWay) {
    on_local_ranks(3, [](Communicator& world) {
        const auto slow = delayed(world.split(0, world.rank(), "slow"), {.latency = milliseconds(50)});
        const auto pair = world.split(world.rank() == 2 ? 1 : 0, world.rank(), "pair");
        const at::Tensor tensor = at::zeros({1000});
        if (world.rank() == 2) slow->send(tensor, 0).wait();
        if (world.rank() == 1)
            all_reduce(*pair, tensor).wait();  // needs nothing more of rank 0 than that it waits for something
        if (world.rank() == 0) {
            Work reduction = all_reduce(*pair, tensor);
            slow->receive(at::zeros({1000}), 2).wait();
            reduction.wait();
        }
    });
}

}  // namespace smp::comms
