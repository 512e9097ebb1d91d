// What a training on CUDA devices says of numbers that are not finite, over the stand-in (tests/standin): the sentences
// of the CPU. If these fail, a person who trains on GPUs is sent to the wrong place.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "runtime/agreement/agreement.h"
#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/local_ranks.h"
#include "tests/steep_weights.h"

namespace smp::runtime {
namespace {

using ::testing::HasSubstr;

class SearchOfTrainingOnCuda : public standin::QueuedKernels<> {
  protected:
    /// Two stages of two tensor ranks.
    Job job(const std::function<void(models::Gpt2Options&)>& change = [](auto&) {}) const {
        Job job = smp::testing::fiber_job(folder_);
        smp::testing::change_model(job, change);
        job.training.global_batch_size = 4;
        job.training.steps = 2;
        job.parallel.microbatches = 2;
        job.parallel.pipeline_parallel_degree = job.parallel.tensor_parallel_degree = 2;
        return job;
    }
    /// What rank 0 is told of the training's steps, failure or notices.
    static std::string told(Job job, partition::Device device) {
        job.cluster.device = device;
        std::string words;
        smp::testing::on_local_ranks(4, [&](comms::Communicator& world) {
            Trainer trainer(job, world);
            std::string own;
            const std::int64_t waits = standin::control()->host_waits(world.rank()).all();
            try {
                while (trainer.steps_done() < job.training.steps) own += trainer.step().notice;
            } catch (const AgreedFailure& failure) {
                own += failure.message();
            }
            EXPECT_EQ(standin::control()->host_waits(world.rank()).all(), waits)
                << "the host copied, or waited in CUDA";
            if (world.rank() == 0) words = own;
        });
        return words;
    }
    static void expect_both_say(const Job& job, const std::string& part) {
        const std::string expected = told(job, partition::Device::cpu);
        EXPECT_THAT(expected, HasSubstr(part));
        EXPECT_EQ(told(job, partition::Device::cuda), expected);
    }

    smp::testing::ScratchFolder folder_;
};

TEST_F(SearchOfTrainingOnCuda, NamesAValue) {
    Job job = this->job();
    job.parallel.fp16 = true;
    job.training.learning_rate = 1e5;  // the first update ends beyond fp16's 65504
    job.training.warmup_steps = 0;
    expect_both_say(job, "step 2: the loss is not finite, which first shows in the value of wte.weight (module wte)");
}

TEST_F(SearchOfTrainingOnCuda, NamesAModuleWhoseOutputOverflows) {
    Job job = this->job([](auto& model) { model.initializer_range = 1000; });  // products are beyond fp16's 65504
    job.parallel.fp16 = true;
    expect_both_say(job, "step 1: the loss is not finite, which first shows in the output of h.0 on rank 0");
    job.parallel.active_microbatches = 1;
    job.parallel.optimize = partition::Optimize::memory;
    expect_both_say(job, "which first shows in the output of h.0 on rank ");
}

TEST_F(SearchOfTrainingOnCuda, NamesAGradientWithAFiniteLoss) {
    Job job = this->job([](auto& model) {
        model.layer_norm_epsilon = 1.2e-38;
        model.tie_word_embeddings = false;
    });
    job.training.initial_weights = folder_ / "steep.safetensors";
    smp::testing::write_steep_weights(job.training.initial_weights, 2, 12, 10, 97);
    for (const bool sharded : {false, true}) {
        job.parallel.shard_optimizer_state = sharded;
        expect_both_say(job, "step 1: the gradients are not finite, which first shows in the gradient of h.");
    }
}

TEST_F(SearchOfTrainingOnCuda, NamesAGradientOfASkippedUpdate) {
    Job job = this->job();
    job.parallel.fp16 = true;
    job.training.loss_scale = {{.initial = std::int64_t{1} << 40}};
    expect_both_say(job, ", added up over replicas, overflowed in fp16 on rank ");
}

}  // namespace
}  // namespace smp::runtime
