// Whole trainings on CUDA tensors, over the stand-in for CUDA's runtime and NCCL: a device a rank, streams that begin
// late, our kernels run on the host in the order of their streams, none of LibTorch's. If these fail, a rank on a GPU
// reads what is not there yet, keeps what it should give back, or computes other numbers than the CPU.
#include <atomic>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "runtime/checkpoint/checkpoint_folder.h"
#include "runtime/run_checkpoints.h"
#include "runtime/stage/memory_error.h"
#include "runtime/stage/memory_meter.h"
#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/cuda_on_host/trained_numbers.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/golden_case.h"

namespace smp::runtime {
namespace {

using smp::testing::expect_same_bits;
using smp::testing::Numbers;
using smp::testing::on_devices;
using smp::testing::train;

class TrainingOnCuda : public standin::QueuedKernels<> {
  protected:
    Job job(int layers = 4) const { return smp::testing::deeper_fiber_job(folder_, layers); }
    static Job with(Job job, int pp, int tp, int ranks) {
        return smp::testing::laid_out(std::move(job), pp, tp, ranks);
    }

    smp::testing::ScratchFolder folder_;
};

constexpr std::int64_t kSteps = 2;

/// As far as honest fp32 arithmetic in another order may lie off: the bounds of the golden runs, whose sums are longer.
void expect_numbers_of_the_cpu(const Job& job, const Numbers& numbers) {
    const Numbers expected = train(job, partition::Device::cpu, kSteps);
    ASSERT_EQ(numbers.losses.size(), expected.losses.size());
    for (std::size_t i = 0; i < expected.losses.size(); ++i) {
        EXPECT_NEAR(numbers.losses[i], expected.losses[i], 7e-6) << "step " << i + 1;
        EXPECT_NEAR(numbers.grad_norms[i], expected.grad_norms[i], 1e-5) << "step " << i + 1;
    }
}

TEST_F(TrainingOnCuda, HasTheGoldenNumbers) {
    const auto golden = smp::testing::golden_case("odd");
    Job job = with(golden.job, 2, 2, 8);
    job.parallel.microbatches = 2;
    job.parallel.optimize = partition::Optimize::memory;
    job.parallel.shard_optimizer_state = job.parallel.offload_activations = true;
    job.parallel.activation_checkpointing = "each";
    const Numbers numbers = train(job, partition::Device::cuda, kSteps);
    for (std::size_t i = 0; i < numbers.losses.size(); ++i) {
        EXPECT_NEAR(numbers.losses[i], golden.losses[i], 10 * golden.loss_drift) << "step " << i + 1;
        EXPECT_NEAR(numbers.grad_norms[i], golden.grad_norms[i], 1e-5) << "step " << i + 1;
    }
}

TEST_F(TrainingOnCuda, PipelinesAndWhatSavesMemoryChangeNoBit) {
    const Job alone = job(12);
    const Numbers expected = train(alone, partition::Device::cuda, kSteps);
    expect_numbers_of_the_cpu(alone, expected);
    struct Change {
        const char* name;
        std::function<void(Job&)> make;
    };
    for (const Change& change : {Change{"four stages", [](Job& job) { job = with(job, 4, 1, 4); }},
                                 Change{"four stages of three chunks",
                                        [](Job& job) {
                                            job = with(job, 4, 1, 4);
                                            job.parallel.virtual_pipeline_degree = 3;
                                        }},
                                 Change{"zero bubble",
                                        [](Job& job) {
                                            job = with(job, 4, 1, 4);
                                            job.parallel.pipeline = partition::PipelineSchedule::zero_bubble;
                                        }},
                                 Change{"offloading each layer",
                                        [](Job& job) {
                                            job = with(job, 2, 1, 2);
                                            job.parallel.activation_checkpointing = "each";
                                            job.parallel.offload_activations = true;
                                            job.parallel.activation_loading_horizon = 1;
                                        }},
                                 Change{"offloading groups",
                                        [](Job& job) {
                                            job = with(job, 2, 1, 2);
                                            job.parallel.activation_checkpointing = "group_2";
                                            job.parallel.offload_activations = true;
                                        }},
                                 Change{"offloading whole stages", [](Job& job) {
                                            job = with(job, 4, 1, 4);
                                            job.parallel.activation_checkpointing = "contiguous";
                                            job.parallel.activation_loading_horizon = 1;
                                            job.parallel.offload_activations = true;
                                        }}}) {
        SCOPED_TRACE(change.name);
        Job changed = alone;
        change.make(changed);
        std::atomic<bool> has_offloaded = false;
        const auto look = [&](const Trainer& trainer, const StepRecord&) {
            if (trainer.memory().peak[static_cast<std::size_t>(partition::MemoryCategory::offloaded)] > 0)
                has_offloaded = true;
        };
        expect_same_bits(train(changed, partition::Device::cuda, kSteps, look), expected);
        EXPECT_EQ(has_offloaded, changed.parallel.offload_activations);
    }
}

TEST_F(TrainingOnCuda, TensorRanksAndReplicasHaveTheNumbersOfTheCpu) {
    for (const partition::Optimize optimize : {partition::Optimize::speed, partition::Optimize::memory}) {
        Job layout = with(job(), 1, 2, 4);
        layout.parallel.optimize = optimize;
        const Numbers expected = train(layout, partition::Device::cuda, kSteps);
        expect_numbers_of_the_cpu(layout, expected);
        layout.parallel.shard_optimizer_state = true;
        expect_same_bits(train(layout, partition::Device::cuda, kSteps), expected);
        layout = with(layout, 4, 2, 16);
        expect_same_bits(train(layout, partition::Device::cuda, kSteps), expected);
    }
}

// In 16 bits a rounding may fall on the other side at each operator: some 2^-9 of the numbers of a step.
TEST_F(TrainingOnCuda, SixteenBitsHaveAboutTheNumbersOfTheCpu) {
    for (const bool is_bf16 : {true, false}) {
        Job layout = with(job(), 2, 2, 4);
        (is_bf16 ? layout.parallel.bf16 : layout.parallel.fp16) = true;
        layout.parallel.shard_optimizer_state = true;
        const Numbers numbers = train(layout, partition::Device::cuda, kSteps);
        const Numbers expected = train(layout, partition::Device::cpu, kSteps);
        for (std::size_t i = 0; i < expected.losses.size(); ++i)
            EXPECT_NEAR(numbers.losses[i], expected.losses[i], 0.002 * expected.losses[i]) << "step " << i + 1;
    }
}

// What the gradients are multiplied by lies on the device and is left out of them there. In 16 bits they are those of
// activations that are rounded at each operator (see above).
TEST_F(TrainingOnCuda, GradientsAreGatheredAsTheUpdateTookThemOnEitherDevice) {
    for (const bool is_fp16 : {false, true}) {
        Job layout = with(job(2), 1, 2, 4);
        layout.parallel.shard_optimizer_state = true;
        layout.parallel.fp16 = is_fp16;
        if (is_fp16) layout.training.loss_scale = {.initial = 1024};
        const auto gradients = [&](partition::Device device) {
            layout.cluster.device = device;
            std::map<std::string, at::Tensor> all;
            on_devices(4, [&](comms::Communicator& world) {
                Trainer trainer(layout, world);
                const StepRecord record = trainer.step();
                EXPECT_EQ(record.skipped_updates, 0);
                EXPECT_GT(record.grad_norm, layout.training.gradient_clip_norm);
                for (const std::string& name : trainer.parameter_names())
                    if (const at::Tensor one = trainer.gather_gradient(name); one.defined()) all[name] = one;
            });
            return all;
        };
        const auto here = gradients(partition::Device::cpu), there = gradients(partition::Device::cuda);
        ASSERT_EQ(here.size(), there.size());
        double squares = 0;
        for (const auto& [name, expected] : here) {
            const double scale = expected.norm().item<double>();
            squares += scale * scale;
            EXPECT_LE((there.at(name) - expected).norm().item<double>(), (is_fp16 ? 0.03 : 1e-4) * scale) << name;
        }
        EXPECT_NEAR(std::sqrt(squares), layout.training.gradient_clip_norm, 1e-5);
    }
}

TEST_F(TrainingOnCuda, TracesEvaluatesDrawsSavesAndGoesOn) {
    Job layout = with(job(), 2, 2, 4);
    layout.data.validation_fraction = 0.2;
    layout.training.evaluation_batches = 1;
    layout.training.steps = 3;
    layout.training.sample_tokens = 3;
    layout.training.evaluate_every = 3;
    struct Run {
        double validation = 0, last_loss = 0;
        std::vector<std::int64_t> drawn;
    };
    const auto run = [&](partition::Device device, const std::string& folder) {
        layout.cluster.device = device;
        layout.checkpoint.directory = folder;
        Run made;
        on_devices(4, [&](comms::Communicator& world) {
            Trainer trainer(layout, world);
            partition::StepTimes times;
            trainer.step(times);
            if (world.rank() == 0) {
                EXPECT_FALSE(times.ranks.empty());
                for (const auto& rank : times.ranks)
                    for (const partition::ActionTime& time : rank) {
                        EXPECT_LE(time.reached, time.start);
                        EXPECT_LE(time.start, time.end);
                    }
            }
            const double validation = trainer.evaluate();
            const auto drawn = trainer.sample();
            trainer.step();
            RunCheckpoints checkpoints(trainer);
            checkpoints.begin();
            EXPECT_EQ(checkpoints.settle({}).value().failure, "");
            const double last = trainer.step().loss;
            Trainer again(layout, world, {.loads_first = true});
            again.load(checkpoint_path(folder, 2));
            EXPECT_EQ(again.step().loss, last);
            if (world.rank() == 0) made = {.validation = validation, .last_loss = last, .drawn = drawn};
        });
        return made;
    };
    const Run here = run(partition::Device::cpu, (folder_.path() / "cpu").string());
    const Run there = run(partition::Device::cuda, (folder_.path() / "cuda").string());
    EXPECT_NEAR(there.validation, here.validation, 7e-6);
    EXPECT_NEAR(there.last_loss, here.last_loss, 7e-6);
    EXPECT_EQ(there.drawn, here.drawn);
}

// The allocator tells of what it has given: the limit is kept between actions, and nothing is lost from the count.
TEST_F(TrainingOnCuda, MemoryBeyondTheLimitIsRefusedAtTheNextAction) {
    MemoryMeter meter(4096);
    meter.count_device_allocations();
    const partition::Action action{.kind = partition::ActionKind::join};
    const auto bytes = [&](std::int64_t count) {
        const MemoryMeter::Scope scope(meter, partition::MemoryCategory::other);
        return at::empty({count}, at::TensorOptions(at::kByte).device(at::kCUDA, 0));
    };
    {
        const at::Tensor fits = bytes(3000);
        meter.settle(fits, partition::MemoryCategory::activations);
        meter.set_action(&action);
        const at::Tensor excess = bytes(2000);
        try {
            meter.set_action(nullptr);
            ADD_FAILURE() << "the limit was passed";
        } catch (const MemoryError& error) {
            EXPECT_THAT(error.what(), ::testing::HasSubstr("out of memory in join"));
            EXPECT_THAT(error.what(), ::testing::HasSubstr("activations 2.93 KiB, other 1.95 KiB"));
        }
        EXPECT_EQ(meter.use().device_peak, 5000);
        meter.set_action(nullptr);  // it is said once
    }
    for (const std::int64_t live : meter.use().live) EXPECT_EQ(live, 0);
}

}  // namespace
}  // namespace smp::runtime
