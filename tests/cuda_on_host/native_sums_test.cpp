// Replicas on CUDA devices whose sums NCCL makes itself, over the stand-in (tests/standin). If these fail, a rank takes
// memory for terms that never come, or for connections that nobody uses.
#include <cstdint>
#include <cstdlib>

#include <gmock/gmock.h>

#include "runtime/job/job_plan.h"
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

// A saved plan without room for terms is none of a job whose ranks receive them.
TEST_F(NativeSumsOfTrainingOnCuda, AreOfAnotherPlan) {
    constexpr auto kMessages = partition::Transport::messages;
    const Job native = job(/*sharded=*/false);
    Job deterministic = native;
    deterministic.training.deterministic = true;
    EXPECT_THAT(faults_of(plan_of(native, kReplicas, kMessages), native, kReplicas, kMessages), ::testing::IsEmpty());
    EXPECT_THAT(faults_of(plan_of(native, kReplicas, kMessages), deterministic, kReplicas, kMessages),
                ::testing::ElementsAre(::testing::HasSubstr("no room for the terms of others")));
}

// To some KiB, of which the terms of the others are more.
TEST_F(NativeSumsOfTrainingOnCuda, TakeNoMemoryAndAreForecastSo) {
    constexpr std::int64_t kAbout = 8 << 10;
    struct Case {
        bool is_sharded, is_deterministic;
    };
    for (const auto& [is_sharded, is_deterministic] : {Case{false, false}, Case{true, false}, Case{true, true}}) {
        Job job = this->job(is_sharded);
        job.training.deterministic = is_deterministic;
        smp::testing::on_local_ranks(kReplicas, [&](comms::Communicator& world) {
            Trainer trainer(job, world);
            trainer.step();
            const StepRecord record = trainer.step();
            const std::int64_t terms =
                trainer.memory().peak[static_cast<std::size_t>(partition::MemoryCategory::communication)];
            EXPECT_LE(std::abs(record.memory_bytes - record.predicted_memory_bytes.value()), kAbout);
            if (is_deterministic)
                EXPECT_GT(terms, kAbout);
            else
                EXPECT_EQ(terms, 0);
        });
    }
}

}  // namespace
}  // namespace smp::runtime
