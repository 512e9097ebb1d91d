// training.deterministic over the stand-in for CUDA's runtime and NCCL. If these fail, two runs on GPUs differ though
// they were asked not to.
#include <stdexcept>

#include <gtest/gtest.h>

#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/cuda_on_host/trained_numbers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

class DeterministicTrainingOnCuda : public standin::QueuedKernels<> {
  protected:
    smp::testing::Numbers numbers(int stages, bool is_deterministic, std::uint64_t seed) {
        Job job = smp::testing::laid_out(smp::testing::fiber_job(folder_), stages, 2, 4 * stages);
        job.training.global_batch_size = 8;
        job.training.gradient_clip_norm = 0.3;
        job.training.deterministic = is_deterministic;
        job.parallel.shard_optimizer_state = true;
        standin::control()->delay(seed, 200);
        return smp::testing::train(job, partition::Device::cuda, /*steps=*/2);
    }

  private:
    smp::testing::ScratchFolder folder_;
};

TEST_F(DeterministicTrainingOnCuda, HasTheSameBitsHoweverLateStreamsAre) {
    const std::uint64_t seed = smp::testing::seed();
    for (const int stages : {1, 2})
        smp::testing::expect_same_bits(numbers(stages, true, seed), numbers(stages, true, seed + 1));
}

// NCCL promises no order of its sums: of floating numbers they are not asked for. (What is added in the order of ranks
// is compared with other ways to do so in shared_devices_test.cpp and tests/comms.)
TEST_F(DeterministicTrainingOnCuda, LeavesNoSumToNccl) {
    const std::uint64_t seed = smp::testing::seed();
    struct Sum {
        const char *call, *communicator;
    };
    for (const auto& [call, communicator] : {Sum{"ncclAllReduce", "tensor"}, Sum{"ncclReduceScatter", "data"}}) {
        standin::control()->plant({.call = call, .communicator = communicator, .result = 3 /*ncclInternalError*/});
        EXPECT_NO_THROW(numbers(1, true, seed)) << call;
        EXPECT_THROW(numbers(1, false, seed), comms::CommunicationError) << call;
        standin::control()->take_back();
    }
}

}  // namespace
}  // namespace smp::runtime
