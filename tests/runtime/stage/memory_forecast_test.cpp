// Memory of jobs that are large beside what tensors take by the way: each category and the peak of each rank, predicted
// and measured.
#include "partition/foresight/memory_forecast.h"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/job/job_plan.h"
#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"
#include "tests/seed.h"

namespace smp::runtime {
namespace {

constexpr std::int64_t kLarge = 50 << 20;

struct Drawn {
    Job job;
    int rdp = 1;
    double dropout = 0;
};

int world_size(const Drawn& drawn) {
    return drawn.job.parallel.pipeline_parallel_degree * drawn.job.parallel.tensor_parallel_degree * drawn.rdp;
}

std::string describe(const Drawn& drawn) {
    const partition::ParallelOptions& p = drawn.job.parallel;
    return fmt::format("pp {}, tp {}, rdp {}, K {}, for {}, {}{}{}{}, dropout {}, {} sequences",
                       p.pipeline_parallel_degree, p.tensor_parallel_degree, drawn.rdp, p.active_microbatches.value(),
                       word_of(p.optimize), p.activation_checkpointing, p.offload_activations ? ", offloaded" : "",
                       p.bf16 ? ", bf16" : "", p.shard_optimizer_state ? ", sharded" : "", drawn.dropout,
                       drawn.job.training.global_batch_size.value());
}

std::int64_t largest_forecast(const Drawn& drawn) {
    const partition::Plan plan = plan_of(drawn.job, world_size(drawn));
    const partition::ModuleGraph graph = graph_of(drawn.job, world_size(drawn));
    std::int64_t largest = 0;
    for (const partition::StageId stage : plan.training.ids())
        largest = std::max(largest, partition::memory_forecast(plan, graph, stage).device_peak);
    return largest;
}

/// A zero_bubble job in which some rank needs 50 MiB at least: narrow, with as many sequences as that takes, since
/// activations cost less time a byte than weights.
Drawn draw(const testing::ScratchFolder& folder, std::mt19937_64& random) {
    const auto one_of = [&](const auto&... choices) {
        const std::array all{choices...};
        return all[random() % all.size()];
    };
    Drawn drawn{.job = testing::small_training_job(folder), .rdp = one_of(1, 1, 2)};
    Job& job = drawn.job;
    drawn.dropout = one_of(0.0, 0.1);
    testing::change_model(job, [&](auto& model) {
        model.n_embd = 64;
        model.n_layer = one_of(4, 5);
        model.resid_pdrop = model.embd_pdrop = drawn.dropout;
        model.tie_word_embeddings = one_of(true, false);
    });
    partition::ParallelOptions& parallel = job.parallel;
    parallel.pipeline = partition::PipelineSchedule::zero_bubble;
    parallel.pipeline_parallel_degree = one_of(2, 2, 3);
    parallel.tensor_parallel_degree = one_of(1, 1, 2);
    parallel.optimize = one_of(partition::Optimize::speed, partition::Optimize::memory);
    parallel.microbatches = one_of(3, 4);
    parallel.active_microbatches = one_of(2, 3);
    parallel.bf16 = one_of(false, true);
    parallel.shard_optimizer_state = one_of(false, true);
    parallel.activation_checkpointing = one_of("none", "none", "selective", "each", "group_2");
    parallel.offload_activations = one_of(false, true);
    parallel.activation_loading_horizon = one_of(1, 2);
    job.data.validation_fraction = 0.5;
    job.training.evaluation_batches = 1;
    const std::int64_t step = parallel.microbatches * drawn.rdp * (parallel.tensor_parallel_degree > 1 ? 2 : 1);
    for (std::int64_t scale = 4;; scale += scale / 2) {
        job.training.global_batch_size = scale * step;
        if (largest_forecast(drawn) >= kLarge) return drawn;
    }
}

TEST(LargeJobs, TakeWhatIsForecastByCategoryOnEachRank) {
    const testing::ScratchFolder folder;
    std::mt19937_64 random(testing::seed());
    for (int i = 0; i < 20; ++i) {
        const Drawn drawn = draw(folder, random);
        SCOPED_TRACE(describe(drawn));
        std::vector<std::string> wrong(static_cast<std::size_t>(world_size(drawn)));
        testing::on_local_ranks(world_size(drawn), [&](comms::Communicator& world) {
            Trainer trainer(drawn.job, world);
            std::string& all = wrong[static_cast<std::size_t>(world.rank())];
            const auto compare = [&](std::string_view when, const partition::MemoryUse& measured,
                                     const partition::MemoryForecast& forecast) {
                const auto compare_bytes = [&](std::string_view what, std::int64_t is, std::int64_t should) {
                    if (is != should) all += fmt::format("{}, {}: {} bytes, {} forecast; ", when, what, is, should);
                };
                for (std::size_t c = 0; c < partition::kMemoryCategories; ++c)
                    compare_bytes(partition::Words<partition::MemoryCategory>::list[c], measured.peak[c],
                                  forecast.peak[c]);
                compare_bytes("all at once", measured.device_peak, forecast.device_peak);
            };
            const partition::StageId stage = trainer.coordinate().stage();
            trainer.step();
            compare("a step", trainer.memory(), partition::memory_forecast(trainer.plan(), trainer.graph(), stage));
            trainer.evaluate();
            compare("an evaluation", trainer.evaluation_memory(),
                    partition::evaluation_forecast(trainer.plan(), trainer.graph(), stage));
        });
        for (std::size_t rank = 0; rank < wrong.size(); ++rank) EXPECT_EQ(wrong[rank], "") << "rank " << rank;
    }
}

}  // namespace
}  // namespace smp::runtime
