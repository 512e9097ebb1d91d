// Memory of trainings on CUDA devices, over the stand-in for CUDA's runtime. If these fail, host memory is pinned that
// nobody counts, or memory that runs out ends a job with CUDA's words.
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gmock/gmock.h>

#include "runtime/agreement/agreement.h"
#include "runtime/stage/memory_error.h"
#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/cuda_on_host/trained_numbers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using ::testing::HasSubstr;

constexpr int kOutOfMemory = 2;  // cudaErrorMemoryAllocation

class MemoryOfTrainingOnCuda : public standin::QueuedKernels<> {
  protected:
    Job job(bool offloads) const {
        Job job = smp::testing::laid_out(smp::testing::fiber_job(folder_), 2, 1, 2);
        smp::testing::change_model(job, [](auto& model) { model.n_layer = 4; });
        job.training.global_batch_size = 8;
        job.training.steps = 2;
        job.cluster.device = partition::Device::cuda;
        job.parallel.activation_checkpointing = "each";
        job.parallel.activation_loading_horizon = 1;
        job.parallel.offload_activations = offloads;
        return job;
    }

    smp::testing::ScratchFolder folder_;
};

TEST_F(MemoryOfTrainingOnCuda, HasNoMorePinnedForActivationsThanItCounts) {
    smp::testing::on_devices(2, [&](comms::Communicator& world) {
        const auto pinned = [&] { return standin::control()->pinned_bytes(world.rank()); };
        const std::int64_t before = pinned();
        std::int64_t plain = 0, offloading = 0, counted = 0;
        {
            const Trainer trainer(job(false), world);
            plain = pinned() - before;
        }
        EXPECT_EQ(pinned(), before) << "is not given back";
        {
            Trainer trainer(job(true), world);
            offloading = pinned() - before;
            trainer.step();
            counted = trainer.memory().live[static_cast<std::size_t>(partition::MemoryCategory::offloaded)];
        }
        EXPECT_GT(counted, 0);
        EXPECT_EQ(offloading - plain, counted);
    });
}

TEST_F(MemoryOfTrainingOnCuda, ThatCudaDoesNotPinIsASentence) {
    standin::control()->plant({.call = "cudaHostAlloc", .device = 1, .after = 1, .result = kOutOfMemory});
    try {
        smp::testing::on_devices(2, [&](comms::Communicator& world) { const Trainer trainer(job(true), world); });
        ADD_FAILURE() << "both ranks went on";
    } catch (const MemoryError& error) {
        EXPECT_EQ(exit_code_of(error), 5);
        EXPECT_THAT(error.what(), HasSubstr("CUDA pins no "));
        EXPECT_THAT(error.what(), HasSubstr(" activations of 960 B that parallel.offload_activations keeps"));
    }
}

// Before its first action a program takes memory for its tokens and losses.
TEST_F(MemoryOfTrainingOnCuda, OfADeviceThatIsFullIsSaidOfTheDevice) {
    Job alone = smp::testing::laid_out(job(false), 1, 1, 1);
    smp::testing::on_devices(1, [&](comms::Communicator& world) {
        std::optional<c10::Stream> compute;
        TrainerOptions options;
        options.executor.before_action = [&](const partition::Action&) {
            compute = c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(c10::Device(c10::kCUDA, 0));
        };
        Trainer trainer(alone, world, std::move(options));
        trainer.step();
        std::vector<at::Tensor> rest;
        const c10::StreamGuard guard(compute.value());  // whose memory LibTorch keeps apart
        for (std::int64_t bytes = std::int64_t{64} << 20; bytes > 0;) {
            try {
                rest.push_back(at::empty({bytes}, at::TensorOptions(at::kByte).device(at::kCUDA, 0)));
            } catch (const c10::OutOfMemoryError&) {
                bytes /= 2;
            }
        }
        try {
            trainer.step();
            ADD_FAILURE() << "found memory";
        } catch (const MemoryError& error) {
            EXPECT_THAT(error.what(), HasSubstr("the CUDA device refuses more; this rank holds parameters "));
        }
    });
}

}  // namespace
}  // namespace smp::runtime
