// That the runner of kernels on the host finds what it is there for.
#include <vector>

#include <cuda_runtime.h>
#include <gtest/gtest.h>

namespace smp::testing {
namespace {

constexpr int kThreads = 64;

/// Each thread takes its neighbour's number.
void rotate(int* numbers, bool waits) {
    __shared__ int shared[kThreads];
    shared[threadIdx.x] = static_cast<int>(threadIdx.x);
    if (waits) __syncthreads();
    numbers[threadIdx.x] = shared[(threadIdx.x + 1) % kThreads];
    if (waits) __syncthreads();
    shared[threadIdx.x] = -1;
}

TEST(CudaOnHostRunner, FindsAMissingBarrier) {
    std::vector<int> expected, numbers(kThreads);
    for (int i = 0; i < kThreads; ++i) expected.push_back((i + 1) % kThreads);
    for (int seed = 0; seed < 20; ++seed) {
        cuda_on_host::set_seed(seed);
        cuda_on_host::run(1, kThreads, nullptr, [&] { rotate(numbers.data(), true); });
        EXPECT_EQ(numbers, expected);
        cuda_on_host::run(1, kThreads, nullptr, [&] { rotate(numbers.data(), false); });
        EXPECT_NE(numbers, expected);
    }
}

TEST(CudaOnHostRunner, RunsEveryThreadOfEveryBlock) {
    std::vector<int> runs(2 * 3 * 4 * 5);
    cuda_on_host::run({2, 3}, {4, 5}, nullptr,
                      [&] { ++runs[((blockIdx.y * 2 + blockIdx.x) * 5 + threadIdx.y) * 4 + threadIdx.x]; });
    EXPECT_EQ(runs, std::vector<int>(runs.size(), 1));
}

TEST(CudaOnHostRunner, ExchangesInWarps) {
    std::vector<float> sums(kThreads);
    cuda_on_host::run(1, kThreads, nullptr, [&] {
        auto x = static_cast<float>(threadIdx.x);
        for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xFFFFFFFFU, x, lane);
        sums[threadIdx.x] = x;
    });
    for (int i = 0; i < kThreads; ++i) EXPECT_EQ(sums[i], i < 32 ? 496 : 1520);
}

TEST(CudaOnHostRunner, RefusesAWarpThatIsNotWhole) {
    EXPECT_THROW(cuda_on_host::run(1, kThreads, nullptr,
                                   [] {
                                       if (threadIdx.x != 5) __shfl_xor_sync(0xFFFFFFFFU, 1, 1);
                                   }),
                 std::logic_error);
}

TEST(CudaOnHostRunner, EndedThreadsKeepNobodyWaiting) {
    int any = 0;
    cuda_on_host::run(1, kThreads, nullptr, [&] {
        if (threadIdx.x % 2 == 1) return;
        any = __syncthreads_or(threadIdx.x == 4 ? 1 : 0);
    });
    EXPECT_EQ(any, 1);
}

}  // namespace
}  // namespace smp::testing
