// The first step on CUDA devices, over the stand-in (tests/standin): a kernel that is started first may wait for all
// that its device does. If these fail, a job stands still in its first step on GPUs, and nowhere else.
#include <string>

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

}  // namespace
}  // namespace smp::runtime
