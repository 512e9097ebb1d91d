// What the stand-in promises of NCCL: where operations meet, and what their order is.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <nccl.h>

#include "tests/seed.h"
#include "tests/standin/over_standin.h"

namespace smp::standin {
namespace {

using ::testing::UnorderedElementsAre;

void ok(cudaError_t code) { ASSERT_EQ(code, cudaSuccess) << cudaGetErrorString(code); }
void went_on(ncclResult_t code) { ASSERT_THAT(code, ::testing::AnyOf(ncclSuccess, ncclInProgress)); }

std::vector<std::string> waiting() {
    std::vector<std::string> lines;
    control()->waiting_kernels(
        [](void* to, const char* line) { static_cast<std::vector<std::string>*>(to)->emplace_back(line); }, &lines);
    return lines;
}

/// Until `condition`; a minute is a test that hangs.
bool comes_true(const std::function<bool()>& condition) {
    for (int i = 0; i < 60'000; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
}

/// Ranks of one thread, on devices 0 and up: non-blocking communicators allow it.
struct Rank {
    ncclComm_t comm = nullptr;
    cudaStream_t stream = nullptr;
    int* memory = nullptr;  // on the "device", which is memory of the host

    ncclResult_t settled() const {
        ncclResult_t state = ncclInProgress;
        comes_true([&] {
            went_on(ncclCommGetAsyncError(comm, &state));
            return state != ncclInProgress;
        });
        return state;
    }
    bool is_done() const { return cudaStreamQuery(stream) == cudaSuccess; }
    void send(int peer) const {
        went_on(ncclSend(memory, 2, ncclInt32, peer, comm, stream));
        ASSERT_EQ(settled(), ncclSuccess);
    }
    void receive(int peer, int place = 2) const {
        went_on(ncclRecv(memory + place, 2, ncclInt32, peer, comm, stream));
        ASSERT_EQ(settled(), ncclSuccess);
    }
};

class StandInNccl : public OverStandIn<> {
  protected:
    void TearDown() override {
        OverStandIn::TearDown();
        if (control() != nullptr) ok(cudaSetDevice(0));
    }

    static std::vector<Rank> ranks(int size, const char* name) {
        ncclUniqueId id{};
        went_on(ncclGetUniqueId(&id));
        std::vector<Rank> made(static_cast<std::size_t>(size));
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = 0;
        config.commName = name;
        for (int rank = 0; rank < size; ++rank) {
            ok(cudaSetDevice(rank));
            ok(cudaStreamCreateWithPriority(&made[rank].stream, cudaStreamNonBlocking, 0));
            void* memory = nullptr;
            ok(cudaMalloc(&memory, 256));
            made[rank].memory = static_cast<int*>(memory);
            for (int i = 0; i < 64; ++i) made[rank].memory[i] = 100 * rank + i;
            went_on(ncclCommInitRankConfig(&made[rank].comm, size, id, rank, &config));
        }
        for (const Rank& rank : made) EXPECT_EQ(rank.settled(), ncclSuccess);
        return made;
    }
};

TEST_F(StandInNccl, ASendEndsWithItsReceiveOnly) {
    const auto pair = ranks(2, "pair");
    pair[0].send(1);
    ASSERT_TRUE(comes_true([] { return !waiting().empty(); }));
    EXPECT_THAT(waiting(), UnorderedElementsAre("device 0: send of 8 bytes to rank 1 in 'pair'"));
    EXPECT_FALSE(pair[0].is_done());
    pair[1].receive(0);
    EXPECT_TRUE(comes_true([&] { return pair[0].is_done() && pair[1].is_done(); }));
    EXPECT_EQ(pair[1].memory[3], 1);
    EXPECT_THAT(waiting(), ::testing::IsEmpty());
}

TEST_F(StandInNccl, MessagesThatCrossOnOneCommunicatorStallAndAreNamed) {
    const auto pair = ranks(2, "pair");
    for (const int rank : {0, 1}) {
        pair[rank].receive(1 - rank);
        pair[rank].send(1 - rank);
    }
    ASSERT_TRUE(comes_true([] { return waiting().size() == 2; }));
    EXPECT_THAT(waiting(), UnorderedElementsAre("device 0: receive of 8 bytes from rank 1 in 'pair'",
                                                "device 1: receive of 8 bytes from rank 0 in 'pair'"));
    // The sends would have to overtake the receives.
    EXPECT_FALSE(pair[0].is_done() || pair[1].is_done());
    EXPECT_EQ(ncclCommAbort(pair[0].comm), ncclSuccess);
    EXPECT_EQ(ncclCommAbort(pair[1].comm), ncclSuccess);
    EXPECT_TRUE(comes_true([&] { return pair[0].is_done() && pair[1].is_done(); }));
}

TEST_F(StandInNccl, WhatCrossesOnStreamsOfOneCommunicatorStallsToo) {
    auto pair = ranks(2, "pair");
    for (Rank& rank : pair) {
        const int other = &rank == &pair[0] ? 1 : 0;
        rank.receive(other);
        ok(cudaSetDevice(1 - other));
        ok(cudaStreamCreateWithPriority(&rank.stream, cudaStreamNonBlocking, 0));
        rank.send(other);
    }
    ASSERT_TRUE(comes_true([] { return waiting().size() == 2; }));
    EXPECT_FALSE(pair[0].is_done() || pair[1].is_done());
    for (const Rank& rank : pair) EXPECT_EQ(ncclCommAbort(rank.comm), ncclSuccess);
}

TEST_F(StandInNccl, MessagesThatCrossInOneGroupOrOnTwoCommunicatorsPass) {
    const auto pair = ranks(2, "pair"), other = ranks(2, "other");
    for (const int rank : {0, 1}) {
        went_on(ncclGroupStart());
        went_on(ncclRecv(pair[rank].memory + 2, 2, ncclInt32, 1 - rank, pair[rank].comm, pair[rank].stream));
        went_on(ncclSend(pair[rank].memory, 2, ncclInt32, 1 - rank, pair[rank].comm, pair[rank].stream));
        went_on(ncclGroupEnd());
        EXPECT_EQ(pair[rank].settled(), ncclSuccess);
        (rank == 0 ? pair : other)[rank].receive(1 - rank, 6);  // down on one, up on the other
        (rank == 0 ? other : pair)[rank].send(1 - rank);
    }
    for (const auto* group : {&pair, &other})
        for (const Rank& rank : *group) EXPECT_TRUE(comes_true([&] { return rank.is_done(); }));
    EXPECT_EQ(pair[0].memory[2], 100);
    EXPECT_EQ(pair[1].memory[3], 1);
    EXPECT_EQ(pair[0].memory[6], 100);
    EXPECT_EQ(other[1].memory[7], 1);
}

TEST_F(StandInNccl, CollectivesDoWhatTheirNamesSay) {
    const auto all = ranks(3, "all");
    const auto each = [&](const std::function<ncclResult_t(const Rank&)>& call) {
        for (const Rank& rank : all) {
            went_on(call(rank));
            EXPECT_EQ(rank.settled(), ncclSuccess);
        }
        for (const Rank& rank : all) EXPECT_TRUE(comes_true([&] { return rank.is_done(); }));
    };
    each([](const Rank& r) { return ncclAllReduce(r.memory, r.memory + 8, 2, ncclInt32, ncclSum, r.comm, r.stream); });
    each([](const Rank& r) { return ncclAllReduce(r.memory, r.memory + 10, 2, ncclInt32, ncclMax, r.comm, r.stream); });
    each([](const Rank& r) {
        return ncclReduceScatter(r.memory, r.memory + 12, 2, ncclInt32, ncclSum, r.comm, r.stream);
    });
    each([](const Rank& r) { return ncclAllGather(r.memory, r.memory + 14, 2, ncclInt32, r.comm, r.stream); });
    each([](const Rank& r) { return ncclAlltoAll(r.memory, r.memory + 20, 2, ncclInt32, r.comm, r.stream); });
    each([](const Rank& r) { return ncclBroadcast(r.memory, r.memory + 26, 2, ncclInt32, 2, r.comm, r.stream); });
    for (int rank = 0; rank < 3; ++rank) {
        const int* const memory = all[rank].memory;
        EXPECT_EQ(memory[9], 303);
        EXPECT_EQ(memory[11], 201);
        EXPECT_EQ(memory[13], 300 + 3 * (2 * rank + 1));
        for (int from = 0; from < 3; ++from) {
            EXPECT_EQ(memory[14 + 2 * from + 1], 100 * from + 1);
            EXPECT_EQ(memory[20 + 2 * from + 1], 100 * from + 2 * rank + 1);
        }
        EXPECT_EQ(memory[27], 201);
    }
}

TEST_F(StandInNccl, AnAbortEndsTheOwnKernelsOnly) {
    const auto all = ranks(3, "all");
    all[0].receive(2);
    all[1].receive(2);
    ASSERT_TRUE(comes_true([] { return waiting().size() == 2; }));
    EXPECT_EQ(ncclCommAbort(all[0].comm), ncclSuccess);
    EXPECT_TRUE(comes_true([&] { return all[0].is_done(); }));
    EXPECT_THAT(waiting(), UnorderedElementsAre("device 1: receive of 8 bytes from rank 2 in 'all'"));
    EXPECT_EQ(ncclCommAbort(all[1].comm), ncclSuccess);
    EXPECT_EQ(ncclCommAbort(all[2].comm), ncclSuccess);
    ncclResult_t state = ncclSuccess;
    EXPECT_EQ(ncclCommGetAsyncError(all[0].comm, &state), ncclInvalidArgument);
}

// An abort waits for its device, and there a kernel of the other communicator waits for a peer.
TEST_F(StandInNccl, CommunicatorsThatWaitForPeersAreAbortedInOneGroup) {
    const auto first = ranks(2, "first"), second = ranks(2, "second");
    first[0].receive(1);
    second[0].send(1);
    ASSERT_TRUE(comes_true([] { return waiting().size() == 2; }));
    EXPECT_DEATH(
        {
            ::setenv("SMP_STANDIN_PATIENCE_MS", "100", 1);
            (void)ncclCommAbort(second[0].comm);
        },
        "ncclCommAbort of 'second' on device 0 waits for a kernel of another communicator");
    went_on(ncclGroupStart());
    EXPECT_EQ(ncclCommAbort(second[0].comm), ncclSuccess);
    EXPECT_EQ(ncclCommAbort(first[0].comm), ncclSuccess);
    went_on(ncclGroupEnd());
    EXPECT_TRUE(comes_true([&] { return first[0].is_done() && second[0].is_done(); }));
}

TEST_F(StandInNccl, PartsAreOrderedByKeyAndEndingWaitsForAll) {
    const auto all = ranks(3, "all");
    std::vector<ncclComm_t> parts(3);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.commName = "part";
    for (int rank = 0; rank < 3; ++rank)
        went_on(ncclCommSplit(all[rank].comm, rank == 1 ? 1 : 0, -rank, &parts[rank], &config));
    for (const Rank& rank : all) EXPECT_EQ(rank.settled(), ncclSuccess);
    int own = -1, size = -1;
    EXPECT_EQ(ncclCommUserRank(parts[0], &own), ncclSuccess);
    EXPECT_EQ(ncclCommCount(parts[0], &size), ncclSuccess);
    EXPECT_EQ(own, 1);
    EXPECT_EQ(size, 2);
    EXPECT_EQ(ncclCommFinalize(parts[0]), ncclInProgress);
    ncclResult_t state = ncclSuccess;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(ncclCommGetAsyncError(parts[0], &state), ncclSuccess);
    EXPECT_EQ(state, ncclInProgress);
    EXPECT_EQ(ncclCommFinalize(parts[2]), ncclInProgress);
    EXPECT_EQ((Rank{.comm = parts[0]}.settled()), ncclSuccess);
    EXPECT_EQ(ncclCommDestroy(parts[0]), ncclSuccess);
}

TEST_F(StandInNccl, MistakesAreRefusedByASentence) {
    const auto pair = ranks(2, "pair");
    went_on(ncclSend(pair[0].memory, 2, ncclInt32, 1, pair[0].comm, pair[0].stream));
    went_on(ncclRecv(pair[1].memory, 3, ncclInt32, 0, pair[1].comm, pair[1].stream));
    for (const Rank& rank : pair) {
        EXPECT_TRUE(comes_true([&] {
            ncclResult_t state = ncclSuccess;
            return ncclCommGetAsyncError(rank.comm, &state) == ncclSuccess && state == ncclInvalidUsage;
        }));
        EXPECT_STREQ(ncclGetLastError(rank.comm),
                     "a send of 8 bytes to rank 1 meets a receive of 12 bytes from rank 0");
    }
    EXPECT_EQ(ncclReduce(nullptr, nullptr, 0, ncclInt32, ncclSum, 0, pair[0].comm, pair[0].stream), ncclInvalidUsage);
    EXPECT_THAT(ncclGetLastError(nullptr), ::testing::HasSubstr("there is no ncclReduce"));
    // Before the last call was done.
    const auto other = ranks(2, "other");
    EXPECT_EQ(ncclCommFinalize(other[0].comm), ncclInProgress);
    EXPECT_EQ(ncclSend(other[0].memory, 1, ncclInt32, 1, other[0].comm, other[0].stream), ncclInvalidArgument);
    EXPECT_EQ(ncclCommAbort(other[0].comm), ncclSuccess);
}

TEST_F(StandInNccl, ErrorsCanBePlanted) {
    const auto pair = ranks(2, "pair");
    control()->plant({.call = "ncclSend", .device = 0, .result = ncclSystemError});
    went_on(ncclGroupStart());
    EXPECT_EQ(ncclRecv(pair[0].memory, 1, ncclInt32, 1, pair[0].comm, pair[0].stream), ncclSuccess);
    EXPECT_EQ(ncclSend(pair[0].memory, 1, ncclInt32, 1, pair[0].comm, pair[0].stream), ncclSystemError);
    EXPECT_EQ(ncclGroupEnd(), ncclSystemError);  // and nothing has started
    EXPECT_THAT(waiting(), ::testing::IsEmpty());
    control()->fail_communicators(1, ncclRemoteError);
    ncclResult_t state = ncclSuccess;
    EXPECT_EQ(ncclCommGetAsyncError(pair[1].comm, &state), ncclSuccess);
    EXPECT_EQ(state, ncclRemoteError);
    EXPECT_EQ(pair[0].settled(), ncclSuccess);
}

}  // namespace
}  // namespace smp::standin
