// Ranks that share devices, over the stand-in for CUDA's runtime, with two devices (SMP_STANDIN_DEVICES). If these
// fail, trainings on one GPU show other numbers than those on several.
#include <cmath>

#include <gtest/gtest.h>

#include "comms/device/rank_device.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/cuda_on_host/trained_numbers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using smp::testing::laid_out;
using smp::testing::train;

class SharedDevices : public standin::QueuedKernels<> {
  protected:
    Job job() const {
        Job job = smp::testing::deeper_fiber_job(folder_);
        job.training.deterministic = true;  // ranks that share add in their order, and NCCL does otherwise
        return job;
    }

    smp::testing::ScratchFolder folder_;
};

// Stages change no bit (training_test.cpp), so that two more of them make ranks that share out of those that do not.
TEST_F(SharedDevices, GiveTheBitsOfDevicesOfOnesOwn) {
    constexpr std::int64_t kSteps = 2;
    ASSERT_EQ(comms::cuda_device_count(), 2) << "ctest sets it";
    for (const int tensor_ranks : {2, 1}) {  // or as many replicas
        Job apart = laid_out(job(), 1, tensor_ranks, 2);
        apart.parallel.shard_optimizer_state = true;
        Job shared = laid_out(apart, 2, tensor_ranks, 4);
        shared.cluster.share_devices = true;
        const auto expected =
            train(apart, partition::Device::cuda, kSteps, [](const Trainer& trainer, const StepRecord& record) {
                EXPECT_EQ(trainer.plan().transport, partition::Transport::messages) << "not by NCCL";
                EXPECT_FALSE(std::isnan(record.wait_seconds));
            });
        const auto numbers =
            train(shared, partition::Device::cuda, kSteps, [](const Trainer& trainer, const StepRecord& record) {
                EXPECT_EQ(trainer.plan().transport, partition::Transport::shared_memory) << "by NCCL";
                EXPECT_TRUE(std::isnan(record.wait_seconds)) << "as if a device were one's own";
            });
        smp::testing::expect_same_bits(numbers, expected);
    }
}

}  // namespace
}  // namespace smp::runtime
