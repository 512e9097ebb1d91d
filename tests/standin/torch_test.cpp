// The real LibTorch over the stand-in.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gmock/gmock.h>

#include "tests/seed.h"
#include "tests/standin/over_standin.h"

namespace smp::standin {
namespace {

class TorchOverStandIn : public OverStandIn<> {};

at::Tensor on_device(const at::Tensor& tensor, int device) {
    return tensor.to(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
}

TEST_F(TorchOverStandIn, TensorsMoveBetweenHostAndDevices) {
    const at::Tensor host = at::arange(10'000, at::kFloat);
    const at::Tensor first = on_device(host, 2), copy = at::empty_like(first);
    copy.copy_(first);
    const at::Tensor second = on_device(copy, 3);
    EXPECT_TRUE(second.cpu().equal(host));
    second.narrow(0, 10, 5).copy_(second.narrow(0, 100, 5));
    EXPECT_TRUE(second.cpu().narrow(0, 10, 5).equal(host.narrow(0, 100, 5)));
}

TEST_F(TorchOverStandIn, StreamsAndEventsOrderCopies) {
    const c10::cuda::CUDAGuard guard(1);
    const auto side = c10::cuda::getStreamFromPool(/*isHighPriority=*/true, 1);
    const auto pinned = at::TensorOptions(at::kFloat).pinned_memory(true);
    for (int round = 0; round < 20; ++round) {
        const at::Tensor host = at::empty({1000}, pinned), back = at::empty({1000}, pinned);
        host.fill_(round);
        const at::Tensor device = at::empty({1000}, at::TensorOptions(at::kFloat).device(at::kCUDA));
        device.copy_(host, /*non_blocking=*/true);
        at::cuda::CUDAEvent copied, done;
        copied.record();
        copied.block(side);
        {
            const c10::cuda::CUDAStreamGuard on_side(side);
            back.copy_(device, /*non_blocking=*/true);
            done.record(side);
        }
        done.synchronize();
        EXPECT_EQ(back[999].item<float>(), static_cast<float>(round));
    }
}

TEST_F(TorchOverStandIn, TheCachingAllocatorKeepsItsBooksAndRunsOut) {
    const at::TensorOptions options = at::TensorOptions(at::kByte).device(at::Device(at::kCUDA, 4));
    const auto allocated = [] { return c10::cuda::CUDACachingAllocator::getDeviceStats(4).allocated_bytes[0].current; };
    {
        const at::Tensor tensor = at::empty({1 << 20}, options);
        EXPECT_EQ(allocated(), 1 << 20);
        EXPECT_GE(control()->bytes_in_use(4), 1 << 20);
    }
    EXPECT_EQ(allocated(), 0);
    try {
        const at::Tensor too_large = at::empty({std::int64_t{1} << 40}, options);
        ADD_FAILURE() << "there is no such memory";
    } catch (const c10::OutOfMemoryError& error) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr("1024.00 GiB"));
    }
}

TEST_F(TorchOverStandIn, AnOperatorOfLibTorchIsRefusedByItsKernelsName) {
    const at::Tensor tensor = on_device(at::zeros({10}), 0);
    try {
        tensor.add_(1);
        ADD_FAILURE() << "LibTorch has computed on the device";
    } catch (const std::exception& error) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr("elementwise_kernel"));
        EXPECT_THAT(error.what(), ::testing::HasSubstr("has no twin on the CPU (tests/standin/twins.cpp)"));
    }
}

}  // namespace
}  // namespace smp::standin
