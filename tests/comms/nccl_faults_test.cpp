// What goes wrong over NCCL, on ranks that are threads over the stand-in for CUDA. Every rank is told of the first
// failure and leaves in time, far ahead of the limit of a test's waits.
#include <chrono>
#include <functional>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "comms/backends/nccl.h"
#include "tests/comms/worlds.h"
#include "tests/seed.h"
#include "tests/standin/over_standin.h"

namespace smp::comms {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Of cudaError_t and ncclResult_t, which this program may be built without.
constexpr int kNcclSystemError = 2, kNcclRemoteError = 6;

class NcclFaults : public standin::OverStandIn<> {
  protected:
    static at::Tensor floats(const Communicator& group, std::int64_t numel) {
        return at::zeros({numel}).to(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(group.rank())));
    }
};

// The promise is ten seconds from a failure to the end of the last rank: five times that, from the beginning of a test,
// where others use the machine.
constexpr std::chrono::seconds kLatest{50};

/// What each rank was told, by rank; empty where its body came to its end. As in a program, who hears of a failure
/// first of all unwinds, then tells the others.
std::vector<std::string> told(int ranks, const std::function<void(Communicator& world)>& body,
                              WaitLimit limit = {minutes(10), "the limit"}) {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::string> words(static_cast<std::size_t>(ranks));
    auto bootstraps = local_world(ranks, {.limit = {minutes(10)}});
    {
        std::vector<std::jthread> threads;
        threads.reserve(bootstraps.size());
        for (auto& bootstrap : bootstraps)
            threads.emplace_back([&, &own = *bootstrap] {
                at::set_num_threads(1);
                try {
                    const auto world = over_nccl(own, own.rank());
                    world->set_limit(limit);
                    body(*world);
                } catch (const std::exception& error) {
                    words[static_cast<std::size_t>(own.rank())] = error.what();
                    own.abort(error.what(), 1);
                }
            });
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, kLatest);
    return words;
}

TEST_F(NcclFaults, ARankThatThrowsEndsAllOthersWhateverItHoldsAndTheyWaitFor) {
    std::latch posted(1);
    const auto words = told(3, [&](Communicator& world) {
        const auto pair = world.split(world.rank() == 2 ? 1 : 0, world.rank(), "pair");
        const auto all = world.split(0, world.rank(), "all");
        if (world.rank() == 1) {
            posted.wait();
            throw std::logic_error("planted");
        }
        if (world.rank() == 0) {
            Work never = pair->receive(floats(world, 256), 1), also_never = all->receive(floats(world, 8), 1);
            posted.count_down();
            never.wait();
        }
        // Rank 2 comes to its end: its communicators wait for all to end them.
    });
    EXPECT_THAT(words,
                ElementsAre("rank 1 failed: planted", "planted", ::testing::AnyOf("", "rank 1 failed: planted")));
}

TEST_F(NcclFaults, ACommunicatorThatGoesWhileItIsUsedSaysSo) {
    const auto words = told(2, [](Communicator& world) {
        auto part = world.split(0, world.rank(), "part");
        if (world.rank() == 1) return;
        Work never = part->receive(floats(world, 256), 1);
        part.reset();
        never.wait();
    });
    EXPECT_EQ(words[0], "'part' was destroyed while an operation of it was in flight");
}

TEST_F(NcclFaults, AnAsynchronousErrorOfNcclReachesAllRanks) {
    const auto words = told(3, [](Communicator& world) {
        Work never;
        if (world.rank() != 2) never = world.receive(floats(world, 256), 2);
        if (world.rank() == 2) {
            standin::control()->fail_communicators(2, kNcclRemoteError);
            world.barrier();
        }
        never.wait();
    });
    const auto first = AllOf(HasSubstr("communication in 'world' (I am rank 2, GPU 2) failed: remote process exited"),
                             HasSubstr("a peer ended or lost its connection"));
    EXPECT_THAT(words, ElementsAre(AllOf(HasSubstr("rank 2 failed: "), first),
                                   AllOf(HasSubstr("rank 2 failed: "), first), first));
}

TEST_F(NcclFaults, AFailureIsHeardWhileNcclMakesACommunicator) {
    for (const int before : {0, 1}) {  // of "world", then of "part"
        standin::control()->plant(
            {.call = "ncclCommInitRankConfig", .device = 1, .after = before, .result = kNcclSystemError});
        const auto words = told(2, [](Communicator& world) { world.split(0, world.rank(), "part"); });
        const auto what = HasSubstr(std::string("ncclCommInitRankConfig in '") + (before == 0 ? "world" : "part") +
                                    "' (I am rank 1, GPU 1) failed: unhandled system error");
        EXPECT_THAT(words, ElementsAre(AllOf(HasSubstr("rank 1 failed: "), what), what));
        standin::control()->take_back();
    }
}

TEST_F(NcclFaults, AWaitForNcclItselfKeepsTheLimitInForceAndSaysWhoIsMissing) {
    const auto words = told(2, [](Communicator& world) {
        world.set_limit({milliseconds(300), "the later limit"});
        if (world.rank() == 1)
            standin::control()->plant({.call = "ncclCommInitRankConfig", .device = 1, .stalls = true});
        try {
            world.split(0, world.rank(), "part");
        } catch (const std::exception&) {
            standin::control()->take_back();
            throw;
        }
    });
    EXPECT_THAT(words[0], AllOf(HasSubstr("ncclCommInitRankConfig in 'part' did not complete within 300 ms (the later "
                                          "limit); rank 0 waits for rank 1: rank 1, which does not answer"),
                                HasSubstr("raise the later limit")));
}

TEST_F(NcclFaults, AnErrorInTheMidstOfAGroupStartsNothing) {
    standin::control()->plant({.call = "ncclRecv", .device = 0, .after = 5, .result = kNcclSystemError});
    const auto words = told(3, [](Communicator& world) {
        // connect() has three receives of each rank, all_to_all three more.
        world.all_to_all(floats(world, 30), floats(world, 30)).wait();
    });
    const auto what = HasSubstr("ncclSend and ncclRecv in 'world' (I am rank 0, GPU 0) failed: unhandled system error");
    EXPECT_THAT(words, ElementsAre(what, what, what));
}

// An abort ends the rank's own kernels, and the events behind them are reached.
TEST_F(NcclFaults, WhatAnAbortHasEndedIsNotComplete) {
    std::latch posted(1);
    const auto words = told(2, [&](Communicator& world) {
        if (world.rank() == 1) {
            posted.wait();
            throw std::runtime_error("planted");
        }
        Work never = world.receive(floats(world, 256), 1);
        posted.count_down();
        try {
            world.barrier();
        } catch (const CommunicationError&) {}
        EXPECT_THROW(world.progress(), CommunicationError);
        EXPECT_THROW(never.test(), CommunicationError);
        never.wait();
    });
    EXPECT_EQ(words[0], "rank 1 failed: planted");
}

TEST_F(NcclFaults, MessagesThatCrossOnOneCommunicatorAreNamed) {
    const auto words = told(2,
                            [](Communicator& world) {
                                const int peer = 1 - world.rank();
                                Work in = world.receive(floats(world, 1024), peer);
                                Work out = world.send(floats(world, 1024), peer);
                                out.wait();
                                in.wait();
                            },
                            {milliseconds(300), "the limit"});
    const auto what = AllOf(
        HasSubstr("did not complete within 300 ms (the limit); rank "), HasSubstr("wait for each other: rank "),
        HasSubstr("(send of 4096 bytes to rank 1 in 'world')"), HasSubstr("(send of 4096 bytes to rank 0 in 'world')"));
    EXPECT_THAT(words, ElementsAre(what, what));
}

TEST_F(NcclFaults, AFailureOfOneGroupEndsAllGroupsOfItsRankAndTheWorldTellsTheOthers) {
    std::vector<std::string> words(3);
    std::latch others_are_here(2);
    on_local_ranks(3, [&](Communicator& world) {
        const int rank = world.rank();
        const NcclGroups groups(world, rank);
        const auto pair = groups.make(world.split(rank == 2 ? 1 : 0, rank, "pair"));
        const auto all = groups.make(world.split(0, rank, "all"));
        Work never;
        if (rank == 0) never = all->receive(floats(world, 8), 2);
        if (rank != 1) others_are_here.count_down();
        try {
            if (rank == 2) all->barrier();  // comes behind the receive on rank 0
            if (rank == 1) {
                others_are_here.wait();
                standin::control()->plant({.call = "ncclSend", .device = 1, .result = kNcclSystemError});
                pair->send(floats(world, 8), 0).wait();
            }
            never.wait();
        } catch (const CommunicationError& error) {
            words[static_cast<std::size_t>(rank)] = error.what();
            if (rank == 1) world.abort(error.what(), 1);
            EXPECT_THROW(all->barrier(), CommunicationError);
            EXPECT_THROW(pair->split(0, 0, "none"), CommunicationError);
        }
    });
    const auto what = HasSubstr("ncclSend in 'pair' (I am rank 1, GPU 1) failed: unhandled system error");
    EXPECT_THAT(
        words, ElementsAre(AllOf(HasSubstr("rank 1 failed: "), what), what, AllOf(HasSubstr("rank 1 failed: "), what)));
}

TEST_F(NcclFaults, EventsAreUsedAgain) {
    std::latch posted(1);
    const auto words = told(2, [&](Communicator& world) {
        const at::Tensor tensor = floats(world, 1000);
        const auto operations = [&](int number) {
            std::vector<Work> works;
            works.reserve(static_cast<std::size_t>(number));
            for (int i = 0; i < number; ++i) works.push_back(all_reduce(world, tensor));
            if (world.rank() == 0 && !posted.try_wait()) posted.count_down();
            for (Work& work : works) work.wait();
        };
        if (world.rank() == 1) posted.wait();  // all four of rank 0 are in flight at once
        operations(4);
        const auto created = standin::control()->events_created(0);
        for (int round = 0; round < 300; ++round) operations(2);  // more than a pool begins with
        if (world.rank() == 0) {
            EXPECT_EQ(standin::control()->events_created(0), created);
        }
    });
    EXPECT_THAT(words, ::testing::Each(""));
}

TEST_F(NcclFaults, ReductionsUseTheScratchMemoryThatTheyAreGiven) {
    const auto words = told(2, [](Communicator& world) {
        const at::Tensor tensor = at::ones({100}).to(floats(world, 1).device());
        const at::Tensor scratch = at::zeros({400}, at::kByte).to(tensor.device());
        all_reduce(world, tensor, Reduction::sum, scratch).wait();
        EXPECT_EQ(tensor[99].item<float>(), 2);
        EXPECT_EQ(scratch.cpu().view(at::kFloat)[99].item<float>(), 1);  // the other's
    });
    EXPECT_THAT(words, ::testing::Each(""));
}

}  // namespace
}  // namespace smp::comms
