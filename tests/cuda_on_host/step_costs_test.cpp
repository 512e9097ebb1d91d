// What a step costs the host, over the stand-in for CUDA's runtime and NCCL. If these fail, a step waits inside CUDA,
// for its device more than once, or takes memory and events anew each time.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/cuda_on_host/trained_numbers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using smp::testing::laid_out;

struct Layout {
    const char* name;
    Job (*of)(Job job);
};

class StepOfTrainingOnCuda : public standin::QueuedKernels<::testing::TestWithParam<Layout>> {
  protected:
    Job job() const {
        Job job = smp::testing::deeper_fiber_job(folder_);
        job.training.steps = 5;
        job.cluster.device = partition::Device::cuda;
        return job;
    }

    smp::testing::ScratchFolder folder_;
};

// The host looks at the device, waits for it in the end, and from the third step on takes no memory from it and makes
// hardly an event.
TEST_P(StepOfTrainingOnCuda, WaitsForItsDeviceOnceAndTakesNothingNew) {
    const standin::Control& device = *standin::control();
    const Job layout = GetParam().of(job());
    std::atomic<std::int64_t> all_polled = 0;
    smp::testing::on_devices(*layout.cluster.devices_per_node, [&](comms::Communicator& world) {
        Trainer trainer(layout, world);
        const int own = world.rank();
        for (int step = 0; step < 2; ++step) trainer.step();
        world.barrier();
        const auto waits = device.host_waits(own).all(), events = device.events_created(own),
                   bytes = device.bytes_in_use(own), pinned = device.pinned_bytes(own);
        for (int step = 2; step < 5; ++step) {
            const std::int64_t polled = device.host_waits(own).polled;
            const StepRecord record = trainer.step();
            // Of the device that is done before its host looks, none is counted.
            EXPECT_LE(device.host_waits(own).polled - polled, 1) << "in step " << step + 1;
            all_polled += device.host_waits(own).polled - polled;
            EXPECT_LE(std::abs(record.memory_bytes - record.predicted_memory_bytes.value()), 8 << 10);
        }
        EXPECT_EQ(device.host_waits(own).all() - waits, 0);
        // Joins that found their operation done in each step before: these are not timed.
        EXPECT_LE(device.events_created(own) - events, 10);
        EXPECT_EQ(device.bytes_in_use(own) - bytes, 0);
        EXPECT_EQ(device.pinned_bytes(own) - pinned, 0);
        world.barrier();
    });
    EXPECT_GT(all_polled, 0);
}

INSTANTIATE_TEST_SUITE_P(Of, StepOfTrainingOnCuda,
                         ::testing::Values(Layout{"stages_and_tensor_ranks_that_offload",
                                                  [](Job job) {
                                                      job = laid_out(job, 2, 2, 4);
                                                      job.parallel.activation_checkpointing = "each";
                                                      job.parallel.offload_activations = true;
                                                      job.parallel.activation_loading_horizon = 1;
                                                      return job;
                                                  }},
                                           Layout{"replicas_that_shard",
                                                  [](Job job) {
                                                      job = laid_out(job, 1, 2, 4);
                                                      job.parallel.shard_optimizer_state = true;
                                                      return job;
                                                  }},
                                           Layout{"replicas_in_bf16_that_add_in_order",
                                                  [](Job job) {
                                                      job = laid_out(job, 1, 2, 4);
                                                      job.parallel.shard_optimizer_state = job.parallel.bf16 = true;
                                                      job.training.deterministic = true;
                                                      return job;
                                                  }},
                                           Layout{"chunks",
                                                  [](Job job) {
                                                      job = laid_out(job, 2, 1, 2);
                                                      job.parallel.virtual_pipeline_degree = 2;
                                                      return job;
                                                  }},
                                           Layout{"zero_bubble",
                                                  [](Job job) {
                                                      job = laid_out(job, 2, 1, 2);
                                                      job.parallel.pipeline = partition::PipelineSchedule::zero_bubble;
                                                      return job;
                                                  }}),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace smp::runtime
