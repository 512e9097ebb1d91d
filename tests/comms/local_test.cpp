// What only ranks as threads can show: failures and time-outs within one process, more ranks than processors.
#include <atomic>
#include <thread>

#include <gmock/gmock.h>

#include "comms/progress.h"
#include "tests/comms/worlds.h"

namespace smp::comms {

namespace {

using std::chrono::milliseconds;
using testing::StartsWith;

/// What `call` throws, by_peer prefixed with "peer: "; "nothing" if it does not.
template <typename Call>
std::string thrown_by(Call call) {
    try {
        call();
    } catch (const CommunicationError& error) {
        return (error.by_peer() ? "peer: " : "") + std::string(error.what());
    }
    return "nothing";
}

}  // namespace

TEST(LocalWorld, AWaitThatNobodyAnswersEndsAtItsLimitAndSaysEverything) {
    on_local_ranks(3,
                   [](Communicator& world) {
                       const auto pipeline = world.split(0, -world.rank(), "pipeline");  // rank 2 - r
                       if (pipeline->rank() != 1) return;
                       const std::string sentence = thrown_by([&] { pipeline->receive(at::empty({1024}), 2).wait(); });
                       EXPECT_THAT(
                           sentence,
                           StartsWith("receive of 4096 bytes from rank 0 in 'pipeline' did not complete within 50 ms; "
                                      "rank 1 waits for rank 0: "));
                       // From now on everything of this rank fails at once, with the first reason.
                       EXPECT_EQ(thrown_by([&] { world.barrier(); }), sentence);
                       EXPECT_EQ(thrown_by([&] { pipeline->send(at::empty({1}), 0).wait(); }), sentence);
                   },
                   {.limit = {milliseconds(50)}});
}

TEST(LocalWorld, AUnansweredCollectiveNamesWhoIsMissing) {
    on_local_ranks(4, [](Communicator& world) {
        const auto pair = world.split(world.rank() % 2, world.rank(), "pair");
        if (world.rank() == 1 || world.rank() == 3) return;
        Work reduction = all_reduce(world, at::zeros({256}));
        pair->barrier();  // the other one has come, too
        world.set_limit({milliseconds(50)});
        EXPECT_THAT(thrown_by([&] { reduction.wait(); }),
                    StartsWith("all_reduce of 1024 bytes in 'world', still waiting for rank 1, rank 3 did not complete "
                               "within 50 ms"));
    });
}

/// Whether the others sleep in their waits by then, or have yet to begin them. The limit of a wait is 600 s, longer
/// than ctest lets this program run: a wait that only its limit ended would not pass.
TEST(LocalWorld, AFailingRankEndsEverybodysWaitAtOnceWithItsReason) {
    for (const int pause : {0, 1, 20})
        on_local_ranks(8, [pause](Communicator& world) {
            const auto half = world.split(world.rank() % 2, 0, "half");
            const std::string expected = "peer: rank 5 failed: the data is bad";
            if (world.rank() == 5) {
                world.barrier();
                std::this_thread::sleep_for(milliseconds(pause));
                half->abort("the data is bad", 3);
                EXPECT_EQ(thrown_by([&] { world.send(at::zeros({4}), 0).wait(); }), "the data is bad");
                return;
            }
            const auto wait = [&] {
                const at::Tensor tensor = at::zeros({4});
                world.barrier();  // may fail, too
                switch (world.rank()) {
                    case 0: return world.receive(tensor, 1).wait();
                    case 1: return half->receive(tensor, 1).wait();
                    case 2: return world.send(tensor, 1).wait();
                    case 3: return half->barrier();
                    case 4: {  // looks from time to time
                        Work work = world.receive(tensor, 5);
                        while (!work.test()) std::this_thread::yield();
                        return;
                    }
                    default: return all_reduce(world, tensor).wait();
                }
            };
            EXPECT_EQ(thrown_by(wait), expected);
            EXPECT_EQ(thrown_by([&] { world.barrier(); }), expected);
        });
}

TEST(LocalWorld, AWorkThatIsDroppedIsReported) {
    on_local_ranks(2, [](Communicator& world) {
        if (world.rank() == 1) return;
        { const Work dropped = world.receive(at::zeros({4}), 1); }
        EXPECT_EQ(
            thrown_by([&] { world.send(at::zeros({4}), 1).wait(); }),
            "receive of 16 bytes from rank 1 in 'world' was not waited for: its Work was destroyed while it was in "
            "flight");
    });
}

TEST(LocalWorld, AWorkThatIsDroppedByAnExceptionIsSilentAndItsMemoryStaysSafe) {
    on_local_ranks(2, [](Communicator& world) {
        if (world.rank() == 0) {
            try {
                const Work first = world.receive(at::zeros({100'000}), 1), second = world.send(at::ones({100'000}), 1);
                throw std::invalid_argument("something else");
            } catch (const std::invalid_argument&) {}
            world.barrier();
            EXPECT_EQ(thrown_by([&] { world.barrier(); }), "nothing");
        } else {
            world.barrier();
            world.send(at::ones({100'000}), 0).wait();  // into memory that nobody else holds any more
            const at::Tensor received = at::zeros({100'000});
            world.receive(received, 0).wait();
            EXPECT_EQ(received.sum().item<double>(), 100'000);
            world.barrier();
        }
    });
}

TEST(LocalWorld, UnequalSizesFailOnBothSides) {
    on_local_ranks(2, [](Communicator& world) {
        const std::string thrown = thrown_by([&] {
            if (world.rank() == 0)
                world.send(at::zeros({10}), 1).wait();
            else
                world.receive(at::zeros({20}), 0).wait();
        });
        EXPECT_NE(thrown.find("40 bytes were sent, 80 are to be received"), std::string::npos) << thrown;
    });
}

TEST(LocalWorld, DifferentCollectivesAreReported) {
    on_local_ranks(2,
                   [](Communicator& world) {
                       const std::string thrown =
                           thrown_by([&] { all_reduce(world, at::zeros({10 + world.rank()})).wait(); });
                       EXPECT_TRUE(thrown.find("every rank calls the same collectives") != std::string::npos ||
                                   thrown.find("did not complete within 100 ms") != std::string::npos)
                           << thrown;
                       EXPECT_NE(thrown, "nothing");
                   },
                   {.limit = {milliseconds(100)}});
}

TEST(LocalWorld, NobodyLeavesABarrierBeforeAllHaveCome) {
    constexpr int kRanks = 5;
    std::atomic<int> came = 0;
    on_local_ranks(kRanks, [&](Communicator& world) {
        for (int round = 1; round <= 200; ++round) {
            ++came;
            world.barrier();
            EXPECT_GE(came.load(), round * kRanks);
            world.barrier();
        }
    });
}

TEST(LocalWorld, MoreRanksThanProcessorsGetThrough) {
    on_local_ranks(16, [](Communicator& world) {
        for (int round = 0; round < 50; ++round) {
            const at::Tensor sum = at::full({1000 + round}, world.rank(), at::kInt);
            Work reduction = all_reduce(world, sum);
            const int next = (world.rank() + 1) % 16, previous = (world.rank() + 15) % 16;
            const at::Tensor received = at::zeros({1}, at::kInt);
            Work receive = world.receive(received, previous),
                 send = world.send(at::full({1}, world.rank(), at::kInt), next);
            receive.wait(), send.wait(), reduction.wait();
            ASSERT_EQ(received.item<int>(), previous);
            ASSERT_EQ(sum[999].item<int>(), 120);
        }
    });
}

TEST(LocalWorld, NothingIsHeldOnceItIsComplete) {
    on_local_ranks(2, [](Communicator& world) {
        const at::Tensor tensor = at::zeros({100});
        all_reduce(world, tensor).wait();
        if (world.rank() == 0) world.send(tensor, 1).wait();
        if (world.rank() == 1) world.receive(tensor, 0).wait();
        EXPECT_EQ(tensor.use_count(), 1);
    });
}

TEST(LocalWorld, TheLimitOfWaitsCanBeChangedForAllRelatives) {
    on_local_ranks(2, [](Communicator& world) {
        const auto pair = world.split(0, 0, "pair");
        if (world.rank() == 1) return;
        pair->set_limit({milliseconds(20)});
        EXPECT_THAT(thrown_by([&] { world.receive(at::zeros({1}), 1).wait(); }),
                    StartsWith("receive of 4 bytes from rank 1 in 'world' did not complete within 20 ms"));
    });
}

// Who watches over a rank counts its looks: a rank that waits for long would be taken for one inside a call that does
// not come back.
TEST(LocalWorld, ARankLooksAsLongAsItWaits) {
    std::atomic<const Progress*> waiting = nullptr;
    on_local_ranks(2, [&](Communicator& world) {
        const at::Tensor token = at::zeros({1});
        if (world.rank() == 0) {
            waiting = world.in_flight().get();
            world.receive(token, 1).wait();
            return;
        }
        while (waiting == nullptr) std::this_thread::yield();
        const Progress& other = *waiting;
        const std::uint64_t enough = other.looks() + 5;
        const Clock::time_point end = Clock::now() + std::chrono::seconds(20);  // else it sleeps for ten minutes
        while (other.looks() < enough && Clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
        EXPECT_GE(other.looks(), enough);
        world.send(token, 0).wait();
    });
}

TEST(LocalWorld, NeedsARank) { EXPECT_THROW(local_world(0), std::logic_error); }

}  // namespace smp::comms
