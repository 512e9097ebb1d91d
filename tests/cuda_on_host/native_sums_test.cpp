// Replicas on CUDA devices whose sums NCCL makes itself, over the stand-in (tests/standin). If these fail, a rank takes
// memory for terms that never come, or for connections that nobody uses.
#include <gtest/gtest.h>

#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

constexpr int kReplicas = 3;

class NativeSumsOfTrainingOnCuda : public standin::QueuedKernels<> {
  protected:
    Job job(bool sharded) const {
        Job job = smp::testing::fiber_job(folder_);
        job.parallel.shard_optimizer_state = sharded;
        job.training.global_batch_size = kReplicas * job.parallel.microbatches;
        job.training.steps = 2;
        job.cluster.device = partition::Device::cuda;
        job.cluster.devices_per_node = kReplicas;
        return job;
    }

    smp::testing::ScratchFolder folder_;
};

TEST_F(NativeSumsOfTrainingOnCuda, ConnectNoPairOfReplicas) {
    for (const char* call : {"ncclSend", "ncclRecv"}) standin::control()->plant({.call = call, .result = 2});
    smp::testing::on_local_ranks(kReplicas, [&](comms::Communicator& world) {
        Trainer trainer(job(/*sharded=*/true), world);
        for (int step = 0; step < 2; ++step) trainer.step();
        EXPECT_EQ(trainer.steps_done(), 2);
    });
}

}  // namespace
}  // namespace smp::runtime
