// The first step on CUDA devices, over the stand-in (tests/standin): a kernel that is started first may wait for all
// that its device does, so all are started before. If these fail, a job stands still in its first step on GPUs, and
// nowhere else, or takes more memory before it than its plan knows of.
#include <cstddef>
#include <cstdint>

#include <c10/core/CachingDeviceAllocator.h>
#include <gtest/gtest.h>

#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using FirstStepOnCuda = standin::QueuedKernels<>;

// With eight microbatches and no kernel loaded before the step, stages 0 and 1 wait in their first backward_input for
// messages of stages 2 and 3, and these in their first backward_weight for messages of the former.
TEST_F(FirstStepOnCuda, LoadsNoKernelBehindAReceive) {
    const smp::testing::ScratchFolder folder;
    Job job = smp::testing::fiber_job(folder);
    smp::testing::change_model(job, [](auto& model) { model.n_layer = 4; });
    job.training.global_batch_size = job.parallel.microbatches = 8;
    job.parallel.pipeline_parallel_degree = 4;
    job.parallel.pipeline = partition::PipelineSchedule::zero_bubble;
    job.cluster.devices_per_node = 4;
    job.cluster.device = partition::Device::cuda;
    job.cluster.timeout_seconds = 20;
    smp::testing::on_local_ranks(4, [&](comms::Communicator& world) {
        Trainer trainer(job, world);
        EXPECT_GT(trainer.step().loss, 0);
    });
}

std::int64_t peak_of_device() {
    auto& allocator = *c10::getDeviceAllocator(at::kCUDA);
    constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const std::int64_t peak = allocator.getDeviceStats(0).allocated_bytes.at(kAll).peak;
    allocator.resetPeakStats(0);
    return peak;
}

// Where each layer is computed again, a step keeps the activations of one of them at a time.
TEST_F(FirstStepOnCuda, IsPreparedInNoMoreMemoryThanItTakes) {
    const smp::testing::ScratchFolder folder;
    Job job = smp::testing::fiber_job(folder);
    smp::testing::change_model(job, [](auto& model) { model.n_layer = 6; });
    job.training.global_batch_size = job.parallel.microbatches = 2;
    job.parallel.activation_checkpointing = "each";
    job.cluster.device = partition::Device::cuda;
    smp::testing::on_local_ranks(1, [&](comms::Communicator& world) {
        Trainer trainer(job, world);
        const std::int64_t prepared = peak_of_device();
        trainer.step();
        const std::int64_t stepped = peak_of_device();
        EXPECT_LE(prepared, stepped);
        EXPECT_GT(prepared, stepped / 2);  // the model lies there
    });
}

}  // namespace
}  // namespace smp::runtime
