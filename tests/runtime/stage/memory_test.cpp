// What tensors take, as counted, and beside what the plan says they take.
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "partition/foresight/durations.h"
#include "partition/foresight/memory_forecast.h"
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

class MeasuredMemory : public ::testing::Test {
  protected:
    struct Rank {
        partition::StageId stage = {};
        partition::MemoryUse use;
        partition::MemoryForecast forecast;
        std::size_t parameters = 0;  // tensors
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
            rank.parameters = trainer.parameter_names().size();
        });
        return ranks;
    }

    /// Equal to the byte, but that flat buffers are padded: each parameter to 256 bytes of values, each bucket (one a
    /// chunk, in models as small as these) to as many a data-parallel rank.
    static void expect_as_predicted(const Job& job, int rdp) {
        for (const Rank& rank : run(job, rdp)) {
            SCOPED_TRACE(fmt::format("stage {}", rank.stage));
            const auto measured = [&](partition::MemoryCategory category) { return of(rank.use.peak, category); };
            const auto predicted = [&](partition::MemoryCategory category) { return of(rank.forecast.peak, category); };
            for (const partition::MemoryCategory category :
                 {partition::MemoryCategory::activations, partition::MemoryCategory::checkpoints,
                  partition::MemoryCategory::deferred, partition::MemoryCategory::boundaries,
                  partition::MemoryCategory::logits, partition::MemoryCategory::offloaded,
                  partition::MemoryCategory::communication, partition::MemoryCategory::other})
                EXPECT_EQ(measured(category), predicted(category)) << partition::word_of(category);
            const int chunks = job.parallel.virtual_pipeline_degree;
            const auto precision = partition::precision_of(job.parallel);
            const std::int64_t padding = 256 / partition::value_bytes(precision) *
                                         (static_cast<std::int64_t>(rank.parameters) + rdp * chunks);  // elements
            const std::map<partition::MemoryCategory, std::int64_t> widths = {
                {partition::MemoryCategory::parameters, partition::value_bytes(precision)},
                {partition::MemoryCategory::gradients, partition::kGradientBytes},
                {partition::MemoryCategory::optimizer, partition::optimizer_bytes(precision)}};
            for (const auto& [category, width] : widths) {
                EXPECT_GE(measured(category), predicted(category)) << partition::word_of(category);
                EXPECT_LE(measured(category), predicted(category) + width * padding) << partition::word_of(category);
            }
            const std::int64_t widest =
                partition::value_bytes(precision) + partition::kGradientBytes + partition::optimizer_bytes(precision);
            EXPECT_GE(rank.use.device_peak, rank.forecast.device_peak);
            EXPECT_LE(rank.use.device_peak, rank.forecast.device_peak + widest * padding);
        }
    }

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

TEST_F(MeasuredMemory, ALimitEndsTheJobWithWhatGrew) {
    Job job = this->job();
    job.parallel.pipeline_parallel_degree = 2;
    std::int64_t peak = 0;
    for (const Rank& rank : run(job, 1)) peak = std::max(peak, rank.use.device_peak);
    const double gib = 1.0 / (std::int64_t{1} << 30);
    job.cluster.memory_limit_gib = static_cast<double>(peak) * gib;
    run(job, 1);
    // Between what is forecast and what it does not count, the padding of flat buffers.
    job.cluster.memory_limit_gib = static_cast<double>(peak - 1000) * gib;
    EXPECT_THAT([&] { run(job, 1); }, ::testing::ThrowsMessage<MemoryError>(
                                          AllOf(HasSubstr("out of memory in "), HasSubstr(" grew most, by "))));
}

TEST_F(MeasuredMemory, AJobThatCannotFitSaysSoBeforeItStarts) {
    Job job = this->job();
    job.parallel.shard_optimizer_state = true;
    const auto ranks = run(job, 2);
    const std::int64_t two = ranks[0].forecast.device_peak;
    job.cluster.memory_limit_gib = static_cast<double>(two + (64 << 10)) / (std::int64_t{1} << 30);
    job.training.global_batch_size = 24;
    run(job, 2);  // as many activations as with one rank of half the batch
    job.training.global_batch_size = 12;
    EXPECT_THAT([&] { run(job, 1); },
                ::testing::ThrowsMessage<std::runtime_error>(AllOf(
                    HasSubstr("the job does not fit: a rank of stage 0 needs "),
                    HasSubstr("and cluster.memory_limit_gib allows " + partition::shown_bytes(two + (64 << 10))),
                    HasSubstr("with optimizer states sharded over 2 data-parallel ranks it would, and there is 1"))));
}

}  // namespace
}  // namespace smp::runtime
