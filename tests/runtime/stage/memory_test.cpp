// What tensors take, as counted, and beside what the plan says they take.
#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "partition/foresight/memory_forecast.h"
#include "runtime/job/job_plan.h"
#include "runtime/stage/memory_error.h"
#include "runtime/stage/memory_meter.h"
#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"

namespace smp::runtime {
namespace {

using partition::PipelineSchedule;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::int64_t of(const partition::MemoryBytes& bytes, partition::MemoryCategory category) {
    return bytes[static_cast<std::size_t>(category)];
}

TEST(MemoryMeter, CountsWhatItsScopesAllocateUntilItIsFreed) {
    MemoryMeter meter;
    const at::Tensor before = at::empty({1000});
    std::optional<at::Tensor> kept;
    {
        const MemoryMeter::Scope outer(meter, partition::MemoryCategory::other);
        const at::Tensor first = at::empty({256});
        {
            const MemoryMeter::Scope inner(meter, partition::MemoryCategory::gradients);
            kept = at::empty({64});
        }
        const at::Tensor second = at::empty({16});
        EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::other), 4 * (256 + 16));
        EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::gradients), 4 * 64);
    }
    EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::other), 0);
    EXPECT_EQ(of(meter.use().peak, partition::MemoryCategory::other), 4 * (256 + 16));
    EXPECT_EQ(meter.use().device_peak, 4 * (256 + 64 + 16));
    const at::Tensor after = at::empty({1000});
    EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::other), 0);
    meter.reset_peaks();
    EXPECT_EQ(meter.use().device_peak, 4 * 64);
    std::thread([&] { kept.reset(); }).join();
    EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::gradients), 0);
}

TEST(MemoryMeter, MovesWholeStoragesAndSettlesOnlyWhatIsNew) {
    MemoryMeter meter, stranger;
    const MemoryMeter::Scope scope(meter, partition::MemoryCategory::other);
    const at::Tensor tensor = at::empty({256});
    meter.settle(tensor.narrow(0, 3, 5), partition::MemoryCategory::boundaries);
    EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::boundaries), 4 * 256);
    meter.settle(tensor, partition::MemoryCategory::activations);  // has been told already
    stranger.move(tensor, partition::MemoryCategory::activations);
    meter.move({}, partition::MemoryCategory::activations);
    EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::boundaries), 4 * 256);
    meter.move(tensor, partition::MemoryCategory::activations);
    EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::boundaries), 0);
    EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::activations), 4 * 256);
    EXPECT_EQ(meter.use().device_peak, 4 * 256);
}

TEST(MemoryMeter, TensorsMayOutliveIt) {
    at::Tensor tensor;
    {
        MemoryMeter meter;
        const MemoryMeter::Scope scope(meter, partition::MemoryCategory::other);
        tensor = at::empty({256});
    }
    tensor.reset();
}

TEST(MemoryMeter, BeyondItsLimitSaysWhatGrewAndWhere) {
    MemoryMeter meter(3 << 20);
    const MemoryMeter::Scope scope(meter, partition::MemoryCategory::other);
    at::Tensor first = at::empty({1 << 18});  // 1 MiB
    meter.move(first, partition::MemoryCategory::parameters);
    meter.reset_peaks();
    at::Tensor second = at::empty({1 << 18});
    meter.move(second, partition::MemoryCategory::activations);
    at::Tensor host;
    {
        const MemoryMeter::Scope offload(meter, partition::MemoryCategory::offloaded);
        host = at::empty({1 << 20});  // host memory is not limited
    }
    const partition::Action action{.kind = partition::ActionKind::forward,
                                   .microbatch = partition::MicrobatchId(3),
                                   .chunk = partition::ChunkId(1)};
    meter.set_action(&action);
    try {
        const at::Tensor third = at::empty({3 << 17});  // 1.5 MiB
        ADD_FAILURE() << "3.5 MiB of 3";
    } catch (const MemoryError& error) {
        EXPECT_THAT(error.what(),
                    AllOf(HasSubstr("out of memory in F mb3 chunk1: 1.50 MiB more make 3.50 MiB, and "
                                    "cluster.memory_limit_gib allows 3.00 MiB; other grew most, by 1.50 MiB"),
                          HasSubstr("(parameters 1.00 MiB, activations 1.00 MiB, other 1.50 MiB)")));
    }
    EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::other), 0);  // nothing was taken
}

TEST(MemoryMeter, WhatTheSystemRefusesIsASentence) {
    constexpr std::int64_t kTooMuch = std::int64_t{1} << 50;
    MemoryMeter meter;
    partition::Action action;
    action.kind = partition::ActionKind::optimizer_step;
    meter.set_action(&action);
    const auto refused = [&] {
        try {
            const at::Tensor tensor = at::empty({kTooMuch}, at::kByte);
        } catch (const MemoryError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    {
        const MemoryMeter::Scope scope(meter, partition::MemoryCategory::gradients);
        const at::Tensor kept = at::empty({1024}, at::kByte);
        EXPECT_THAT(refused(), HasSubstr("out of memory in " + partition::name_of(action) +
                                         ": the system refuses 1048576 GiB more for "
                                         "gradients; this rank holds gradients 1.00 KiB; "));
        EXPECT_EQ(of(meter.use().live, partition::MemoryCategory::gradients), 1024);
    }
    EXPECT_THAT(refused(), HasSubstr("out of memory: the system refuses 1048576 GiB; "));
}

class MeasuredMemory : public ::testing::Test {
  protected:
    struct Rank {
        partition::StageId stage = {};
        partition::MemoryUse use;
        partition::MemoryForecast forecast;
    };

    /// The second step of each rank.
    static std::vector<Rank> run(const Job& job, int rdp) {
        const int world_size = job.parallel.pipeline_parallel_degree * job.parallel.tensor_parallel_degree * rdp;
        std::vector<Rank> ranks(static_cast<std::size_t>(world_size));
        testing::on_local_ranks(world_size, [&](comms::Communicator& world) {
            Trainer trainer(job, world);
            trainer.step();
            trainer.step();
            Rank& rank = ranks[static_cast<std::size_t>(world.rank())];
            rank.stage = trainer.coordinate().stage();
            rank.use = trainer.memory();
            rank.forecast = memory_forecast(trainer.plan(), trainer.graph(), rank.stage);
        });
        return ranks;
    }

    /// To the byte: a plan states what is allocated, and when.
    static void expect_as_predicted(const Job& job, int rdp) {
        for (const Rank& rank : run(job, rdp)) {
            SCOPED_TRACE(fmt::format("stage {}", rank.stage));
            for (std::size_t c = 0; c < partition::kMemoryCategories; ++c)
                EXPECT_EQ(rank.use.peak[c], rank.forecast.peak[c])
                    << partition::Words<partition::MemoryCategory>::list[c];
            EXPECT_EQ(rank.use.device_peak, rank.forecast.device_peak);
        }
    }

    static std::int64_t largest_peak(const std::vector<Rank>& ranks) {
        std::int64_t largest = 0;
        for (const Rank& rank : ranks) largest = std::max(largest, rank.use.device_peak);
        return largest;
    }
    static double in_gib(std::int64_t bytes) { return static_cast<double>(bytes) / (std::int64_t{1} << 30); }

    Job job() const {
        Job job = testing::small_training_job(folder_);
        testing::change_model(job, [&](auto& model) { model.n_layer = 8; });
        job.parallel.microbatches = 6;
        testing::change_model(job, [&](auto& model) { model.resid_pdrop = 0.1; });
        return job;
    }

    testing::ScratchFolder folder_;
};

TEST_F(MeasuredMemory, IsWhatThePlanSaysByCategory) {
    struct Layout {
        int pp, chunks, rdp;
        PipelineSchedule schedule;
    };
    for (const Layout& layout : {Layout{1, 1, 1, PipelineSchedule::interleaved},
                                 {2, 1, 1, PipelineSchedule::simple},
                                 {2, 1, 2, PipelineSchedule::interleaved},
                                 {2, 2, 1, PipelineSchedule::interleaved},
                                 {3, 1, 1, PipelineSchedule::zero_bubble}}) {
        for (const char* checkpointing : {"none", "each", "contiguous", "group_2", "selective"}) {
            for (const int horizon : {0, 1, 4}) {
                for (const auto& [dropout, bf16] : {std::pair{0.0, false}, {0.1, false}, {0.1, true}}) {
                    Job job = this->job();
                    job.parallel.pipeline_parallel_degree = layout.pp;
                    job.parallel.virtual_pipeline_degree = layout.chunks;
                    job.parallel.pipeline = layout.schedule;
                    job.parallel.activation_checkpointing = checkpointing;
                    job.parallel.offload_activations = horizon > 0;
                    job.parallel.activation_loading_horizon = std::max(1, horizon);
                    job.parallel.shard_optimizer_state = horizon == 1;
                    job.parallel.bf16 = bf16;
                    testing::change_model(
                        job, [dropout = dropout](auto& model) { model.resid_pdrop = model.embd_pdrop = dropout; });
                    if ((std::string(checkpointing) == "none" || std::string(checkpointing) == "selective") &&
                        horizon > 0 && layout.rdp == 1)
                        continue;  // as without
                    SCOPED_TRACE(fmt::format("{}, pp {}, {} chunks, rdp {}, {}, horizon {}, dropout {}, {}",
                                             word_of(layout.schedule), layout.pp, layout.chunks, layout.rdp,
                                             checkpointing, horizon, dropout, bf16 ? "bf16" : "fp32"));
                    expect_as_predicted(job, layout.rdp);
                }
            }
        }
    }
}

TEST_F(MeasuredMemory, IsWhatThePlanSaysOnTensorRanks) {
    for (const auto optimize : {partition::Optimize::speed, partition::Optimize::memory}) {
        for (const bool bf16 : {false, true}) {
            for (const char* checkpointing : {"none", "group_2"}) {
                Job job = this->job();
                job.parallel.tensor_parallel_degree = job.parallel.pipeline_parallel_degree = 2;
                job.parallel.optimize = optimize;
                job.parallel.bf16 = bf16;
                job.parallel.activation_checkpointing = checkpointing;
                SCOPED_TRACE(fmt::format("for {}, {}, {}", word_of(optimize), bf16 ? "bf16" : "fp32", checkpointing));
                expect_as_predicted(job, 1);
            }
        }
    }
}

TEST_F(MeasuredMemory, AJobFitsInWhatItTakesAndInNoByteLess) {
    Job job = this->job();
    job.parallel.pipeline_parallel_degree = 2;
    const std::int64_t peak = largest_peak(run(job, 1));
    job.cluster.memory_limit_gib = in_gib(peak);
    run(job, 1);
    job.cluster.memory_limit_gib = in_gib(peak - 1);
    EXPECT_THAT([&] { run(job, 1); }, ::testing::ThrowsMessage<MemoryError>(HasSubstr("the job does not fit: a rank")));
}

// Planned for half the sequences that it gets, since a job that its plan knows not to fit does not start.
TEST_F(MeasuredMemory, ALimitEndsTheJobWithWhatGrew) {
    Job job = this->job(), half = job;
    half.training.global_batch_size = 12;
    job.cluster.memory_limit_gib = in_gib(largest_peak(run(half, 1)));
    const auto train = [&] {
        testing::on_local_ranks(1, [&](comms::Communicator& world) {
            Trainer trainer(job, world, {.plan = plan_of(half, 1), .executor = {}});
            trainer.step();
        });
    };
    EXPECT_THAT(train, ::testing::ThrowsMessage<MemoryError>(
                           AllOf(HasSubstr("out of memory in "), HasSubstr(" grew most, by "))));
}

TEST_F(MeasuredMemory, AJobThatCannotFitSaysSoBeforeItStarts) {
    Job job = this->job();
    job.parallel.shard_optimizer_state = true;
    const std::int64_t two = largest_peak(run(job, 2));
    job.cluster.memory_limit_gib = in_gib(two);
    job.training.global_batch_size = 24;
    run(job, 2);  // as many activations as with one rank of half the batch
    job.training.global_batch_size = 12;
    EXPECT_THAT([&] { run(job, 1); },
                ::testing::ThrowsMessage<std::runtime_error>(AllOf(
                    HasSubstr("the job does not fit: a rank of stage 0 needs "),
                    HasSubstr("and cluster.memory_limit_gib allows " + partition::shown_bytes(two)),
                    HasSubstr("with optimizer states sharded over 2 data-parallel ranks it would, and there is 1"))));
}

}  // namespace
}  // namespace smp::runtime
