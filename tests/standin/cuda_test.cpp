// What the stand-in promises of CUDA's runtime.
#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>

#include "tests/seed.h"
#include "tests/standin/over_standin.h"

namespace smp::standin {
namespace {

void ok(cudaError_t code) { ASSERT_EQ(code, cudaSuccess) << cudaGetErrorString(code); }

class StandIn : public OverStandIn<> {
  protected:
    void SetUp() override {
        OverStandIn::SetUp();
        if (IsSkipped()) return;
        ok(cudaSetDevice(0));
    }

    static cudaStream_t stream() {
        cudaStream_t made = nullptr;
        ok(cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, 0));
        return made;
    }
    static cudaEvent_t event() {
        cudaEvent_t made = nullptr;
        ok(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
        return made;
    }
    /// Kept until the process ends: streams hold pointers to them.
    static std::function<void()>* task(std::function<void()> body) {
        return new std::function<void()>(std::move(body));
    }
    static void run(cudaStream_t on, std::function<void()> body) {
        ok(cudaLaunchHostFunc(
            on,
            [](void* argument) {
                auto* const held = static_cast<std::function<void()>*>(argument);
                (*held)();
                delete held;
            },
            task(std::move(body))));
    }
};

TEST_F(StandIn, AStreamDoesWhatItIsGivenInOrder) {
    const cudaStream_t on = stream();
    std::vector<int> order;
    for (int i = 0; i < 100; ++i) run(on, [&, i] { order.push_back(i); });
    ok(cudaStreamSynchronize(on));
    ASSERT_EQ(order.size(), 100U);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
    ok(cudaStreamDestroy(on));
}

// The first stream waits for what the second one does: in one queue they would wait for ever.
TEST_F(StandIn, StreamsThatNoEventOrdersRunBesideEachOther) {
    const cudaStream_t first = stream(), second = stream();
    std::promise<void> done;
    auto heard = done.get_future();
    run(first, [&] { heard.wait(); });
    EXPECT_EQ(cudaStreamQuery(first), cudaErrorNotReady);
    run(second, [&] { done.set_value(); });
    ok(cudaStreamSynchronize(first));
    EXPECT_EQ(cudaStreamQuery(first), cudaSuccess);
}

TEST_F(StandIn, AnEventOrdersStreams) {
    const cudaStream_t first = stream(), second = stream();
    const cudaEvent_t point = event();
    ok(cudaStreamWaitEvent(second, point, 0));  // never recorded: nothing to wait for
    ok(cudaStreamSynchronize(second));
    EXPECT_EQ(cudaEventQuery(point), cudaSuccess);
    for (int round = 0; round < 50; ++round) {
        int value = 0, seen = -1;
        run(first, [&] { value = round; });
        ok(cudaEventRecord(point, first));
        ok(cudaStreamWaitEvent(second, point, 0));
        run(second, [&] { seen = value; });
        ok(cudaStreamSynchronize(second));
        EXPECT_EQ(seen, round);
    }
}

// A wait is for the record that was the last at its call, however often the event is recorded later.
TEST_F(StandIn, AWaitIsForTheRecordBeforeIt) {
    const cudaStream_t first = stream(), second = stream();
    const cudaEvent_t point = event();
    std::promise<void> go;
    auto gone = go.get_future();
    ok(cudaEventRecord(point, first));
    ok(cudaStreamWaitEvent(second, point, 0));
    run(first, [&] { gone.wait(); });
    ok(cudaEventRecord(point, first));
    EXPECT_EQ(cudaEventQuery(point), cudaErrorNotReady);
    ok(cudaStreamSynchronize(second));  // does not wait for `go`
    go.set_value();
    ok(cudaEventSynchronize(point));
    EXPECT_EQ(cudaEventQuery(point), cudaSuccess);
    ok(cudaEventDestroy(point));
}

TEST_F(StandIn, ElapsedTimeIsThatBetweenTimedEvents) {
    const cudaStream_t on = stream();
    cudaEvent_t from = nullptr, to = nullptr;
    ok(cudaEventCreate(&from));
    ok(cudaEventCreate(&to));
    float milliseconds = 0;
    EXPECT_EQ(cudaEventElapsedTime(&milliseconds, from, to), cudaErrorInvalidResourceHandle) << "never recorded";
    std::promise<void> go;
    auto gone = go.get_future();
    ok(cudaEventRecord(from, on));
    run(on, [&] { gone.wait(); });
    ok(cudaEventRecord(to, on));
    EXPECT_EQ(cudaEventElapsedTime(&milliseconds, from, to), cudaErrorNotReady);
    while (cudaEventQuery(from) != cudaSuccess) std::this_thread::yield();
    const auto reached = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const auto going = std::chrono::steady_clock::now();
    go.set_value();
    ok(cudaStreamSynchronize(on));
    ok(cudaEventElapsedTime(&milliseconds, from, to));
    const std::chrono::duration<float, std::milli> least = going - reached;
    EXPECT_GE(milliseconds, least.count() - 0.01F);  // it is rounded
    EXPECT_EQ(cudaEventElapsedTime(&milliseconds, event(), to), cudaErrorInvalidResourceHandle) << "without timing";
}

TEST_F(StandIn, CopiesToAndFromPinnedMemoryAreAsynchronousAndThoseOfPageableMemoryAreNot) {
    const cudaStream_t on = stream();
    void *device = nullptr, *pinned = nullptr;
    const std::int64_t pinned_before = control()->pinned_bytes(0);
    ok(cudaMalloc(&device, 64));
    ok(cudaHostAlloc(&pinned, 64, 0));
    std::vector<int> pageable(16, 5);
    std::promise<void> go;
    auto gone = go.get_future();
    run(on, [&] { gone.wait(); });
    ok(cudaMemcpyAsync(device, pageable.data(), 64, cudaMemcpyHostToDevice, on));  // has read it
    pageable.assign(16, 7);
    ok(cudaMemcpyAsync(pinned, device, 64, cudaMemcpyDeviceToHost, on));  // has not ended
    EXPECT_EQ(cudaStreamQuery(on), cudaErrorNotReady);
    const HostWaits before = control()->host_waits(0);
    go.set_value();
    ok(cudaMemcpyAsync(pageable.data(), device, 64, cudaMemcpyDeviceToHost, on));  // has ended
    EXPECT_EQ(pageable[15], 5);
    EXPECT_EQ(static_cast<int*>(pinned)[15], 5);
    const HostWaits after = control()->host_waits(0);
    EXPECT_EQ(after.copies - before.copies, 1);
    EXPECT_EQ(after.all() - before.all(), 1);
    ok(cudaFree(device));
    EXPECT_EQ(control()->pinned_bytes(0), pinned_before + 64);
    ok(cudaFreeHost(pinned));
    EXPECT_EQ(control()->pinned_bytes(0), pinned_before);
    EXPECT_EQ(control()->host_waits(0).frees - after.frees, 2);
}

TEST_F(StandIn, CopiesOfRowsLeaveWhatIsBetween) {
    void *from = nullptr, *to = nullptr;
    ok(cudaMalloc(&from, 12));
    ok(cudaMalloc(&to, 12));
    ok(cudaMemset(to, 1, 12));
    ok(cudaMemset(from, 2, 12));
    const cudaStream_t on = stream();
    ok(cudaMemcpy2DAsync(to, 4, from, 3, 2, 3, cudaMemcpyDeviceToDevice, on));
    ok(cudaStreamSynchronize(on));
    std::string bytes(12, '\0');
    ok(cudaMemcpy(bytes.data(), to, 12, cudaMemcpyDeviceToHost));
    EXPECT_EQ(bytes, std::string("\2\2\1\1\2\2\1\1\2\2\1\1"));
    ok(cudaFree(from));
    ok(cudaFree(to));
}

TEST_F(StandIn, MemoryOfADeviceIsLimited) {
    std::size_t free = 0, total = 0;
    ok(cudaMemGetInfo(&free, &total));
    void *most = nullptr, *more = nullptr;
    ok(cudaMalloc(&most, free - 100));
    EXPECT_EQ(cudaMalloc(&more, 101), cudaErrorMemoryAllocation);
    EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    ok(cudaFree(most));
    ok(cudaMalloc(&more, 101));
    ok(cudaFree(more));
}

TEST_F(StandIn, WhoAsksForAnEventAgainAndAgainHasWaitedOnce) {
    const auto polled = [] { return control()->host_waits(0).polled; };
    const std::int64_t before = polled();
    const cudaStream_t on = stream();
    const cudaEvent_t point = event();
    std::promise<void> go;
    auto gone = go.get_future();
    run(on, [&] { gone.wait(); });
    ok(cudaEventRecord(point, on));
    const auto ask = [&](int times) {
        for (int i = 0; i < times; ++i) EXPECT_EQ(cudaEventQuery(point), cudaErrorNotReady);
    };
    ask(3);
    EXPECT_EQ(polled(), before) << "as who comes by does";
    ask(100);
    EXPECT_EQ(polled(), before + 1);
    run(on, [] {});
    ask(100);
    EXPECT_EQ(polled(), before + 2);
    go.set_value();
    ok(cudaStreamSynchronize(on));
}

TEST_F(StandIn, HostWaitsAreCounted) {
    const HostWaits before = control()->host_waits(0);
    const cudaStream_t on = stream();
    const cudaEvent_t point = event();
    void* memory = nullptr;
    ok(cudaMalloc(&memory, 8));
    ok(cudaMemsetAsync(memory, 0, 8, on));
    ok(cudaEventRecord(point, on));
    EXPECT_EQ(control()->host_waits(0).all(), before.all());
    ok(cudaStreamSynchronize(on));
    ok(cudaEventSynchronize(point));
    ok(cudaDeviceSynchronize());
    ok(cudaFree(memory));
    const HostWaits after = control()->host_waits(0);
    EXPECT_EQ(after.stream - before.stream, 1);
    EXPECT_EQ(after.event - before.event, 1);
    EXPECT_EQ(after.device - before.device, 1);
    EXPECT_EQ(after.frees - before.frees, 1);
}

TEST_F(StandIn, WhatIsNotThereIsRefusedByName) {
    void* memory = nullptr;
    const cudaError_t code = cudaMallocManaged(&memory, 8);
    EXPECT_EQ(code, cudaErrorNotSupported);
    EXPECT_THAT(cudaGetErrorString(code), ::testing::HasSubstr("there is no cudaMallocManaged"));
    cudaStream_t waits_for_default = nullptr;
    EXPECT_EQ(cudaStreamCreateWithFlags(&waits_for_default, cudaStreamDefault), cudaErrorNotSupported);
}

TEST_F(StandIn, AnEventBelongsToItsDevice) {
    const cudaEvent_t point = event();
    ok(cudaSetDevice(1));
    EXPECT_EQ(cudaEventRecord(point, stream()), cudaErrorInvalidResourceHandle);
    EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
    ok(cudaSetDevice(0));
}

TEST_F(StandIn, ErrorsAndStallsCanBePlanted) {
    const cudaStream_t on = stream();
    control()->plant({.call = "cudaStreamQuery", .device = 0, .after = 1, .result = cudaErrorLaunchFailure});
    EXPECT_EQ(cudaStreamQuery(on), cudaSuccess);
    EXPECT_EQ(cudaStreamQuery(on), cudaErrorLaunchFailure);
    control()->plant({.call = "cudaDeviceSynchronize", .stalls = true});
    auto stalled = std::async(std::launch::async, [] { return cudaDeviceSynchronize(); });
    EXPECT_EQ(stalled.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
    control()->take_back();
    EXPECT_EQ(stalled.get(), cudaSuccess);
    EXPECT_EQ(cudaStreamQuery(on), cudaSuccess);
    EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
}

}  // namespace
}  // namespace smp::standin
