// A family that the program does not know, trained by it in every kind of layout. If these fail, something outside of
// models/gpt2 knows GPT-2.
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/trainer.h"
#include "tests/families/mlp/mlp_job.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/pairwise.h"

namespace smp::testing {
namespace {

using partition::Optimize;
using partition::PipelineSchedule;

struct Numbers {
    std::string text;                // records and drawn tokens: equal only if all bits are
    double loss = 0, grad_norm = 0;  // of the last step
};

Numbers run(const runtime::Job& job, int rdp, int threads = 1) {
    Numbers result;
    const int ranks = job.parallel.pipeline_parallel_degree * job.parallel.tensor_parallel_degree * rdp;
    on_local_ranks(
        ranks,
        [&](comms::Communicator& world) {
            runtime::Trainer trainer(job, world);
            std::string text;
            for (std::int64_t step = 1; step <= job.training.steps; ++step) {
                const auto record = trainer.step();
                text += fmt::format("{} {} {}\n", record.loss, record.grad_norm, record.skipped_updates);
                if (step % job.training.evaluate_every == 0) text += fmt::format("{}\n", trainer.evaluate());
                if (world.rank() == 0) result.loss = record.loss;
                if (world.rank() == 0) result.grad_norm = record.grad_norm;
            }
            if (job.training.sample_tokens > 0) text += fmt::format("{}\n", fmt::join(trainer.sample(), " "));
            if (world.rank() == 0) result.text = text;
        },
        threads);
    return result;
}

/// Tensor ranks, replicas, whether the head is tied, what boundary tensors are stored for, bf16: what may show.
using Arithmetic = std::tuple<int, int, bool, Optimize, bool>;

class MlpInEveryLayout : public ::testing::TestWithParam<Arithmetic> {
  protected:
    ScratchFolder folder_;
};

TEST_P(MlpInEveryLayout, GivesTheNumbersOfOneStage) {
    const auto& [tp, rdp, tied, optimize, bf16] = GetParam();
    runtime::Job job = mlp_job(folder_, {.layers = 12, .tied = tied});
    job.training.sample_tokens = tp == 1 ? 3 : 0;
    job.training.sample_prompt = "\n";
    job.parallel.tensor_parallel_degree = tp;
    job.parallel.optimize = optimize;
    job.parallel.bf16 = bf16;
    const int m = job.parallel.microbatches = rdp == 3 ? 4 : 6;
    const Numbers expected = run(job, rdp);
    ASSERT_TRUE(std::isfinite(expected.loss));
    EXPECT_EQ(run(job, rdp, /*threads=*/2).text, expected.text) << "two threads";

    struct Schedule {
        PipelineSchedule order;
        int pp, chunks, least_bound;
    };
    const Schedule schedules[] = {{PipelineSchedule::simple, 2, 1, m},      {PipelineSchedule::interleaved, 1, 3, 2},
                                  {PipelineSchedule::interleaved, 4, 1, 2}, {PipelineSchedule::interleaved, 2, 2, 4},
                                  {PipelineSchedule::zero_bubble, 1, 1, 2}, {PipelineSchedule::zero_bubble, 3, 1, 2}};
    const std::string checkpointing[] = {"none", "each", "contiguous", "group_3", "selective"};
    const int horizons[] = {0, 1, 4};  // 0: nothing is offloaded
    for (const auto& row : pairwise({6, 2, 5, 3, 2})) {
        auto& parallel = job.parallel;
        const Schedule& schedule = schedules[row[0]];
        parallel.pipeline = schedule.order;
        parallel.pipeline_parallel_degree = schedule.pp;
        parallel.virtual_pipeline_degree = schedule.chunks;
        parallel.active_microbatches = row[4] == 0 ? std::min(m, schedule.least_bound) : m;
        parallel.shard_optimizer_state = row[1] == 1;
        parallel.activation_checkpointing = checkpointing[row[2]];
        parallel.offload_activations = horizons[row[3]] > 0;
        parallel.activation_loading_horizon = std::max(1, horizons[row[3]]);
        ASSERT_EQ(run(job, rdp).text, expected.text)
            << word_of(parallel.pipeline) << ", pp " << schedule.pp << ", " << schedule.chunks << " chunks a stage, K "
            << *parallel.active_microbatches << ", " << parallel.activation_checkpointing << ", horizon "
            << horizons[row[3]] << (parallel.shard_optimizer_state ? ", sharded optimizer states" : "");
    }
}

std::string name_of(const ::testing::TestParamInfo<Arithmetic>& info) {
    const auto& [tp, rdp, tied, optimize, bf16] = info.param;
    return fmt::format("tp{}_rdp{}_{}{}{}", tp, rdp, tied ? "tied" : "untied",
                       optimize == Optimize::memory ? "_for_memory" : "", bf16 ? "_bf16" : "");
}

INSTANTIATE_TEST_SUITE_P(Whole, MlpInEveryLayout,
                         ::testing::Values(Arithmetic{1, 1, true, Optimize::speed, false},
                                           Arithmetic{1, 1, false, Optimize::speed, true},
                                           Arithmetic{1, 3, true, Optimize::speed, false},
                                           Arithmetic{2, 1, true, Optimize::memory, false},
                                           Arithmetic{2, 1, false, Optimize::speed, false}),
                         name_of);

TEST(Mlp, TensorAndDataParallelismShowInRoundingOnly) {
    const ScratchFolder folder;
    for (const bool tied : {true, false}) {
        runtime::Job job = mlp_job(folder, {.tied = tied});
        job.parallel.microbatches = 3;
        const Numbers one = run(job, 1);
        for (const auto& [tp, rdp, optimize] : {std::tuple{2, 1, Optimize::speed},
                                                {3, 1, Optimize::memory},
                                                {1, 2, Optimize::speed},
                                                {2, 2, Optimize::memory}}) {
            job.parallel.tensor_parallel_degree = tp;
            job.parallel.optimize = optimize;
            const Numbers other = run(job, rdp);
            // Four steps of fp32 sums in another order.
            EXPECT_NEAR(other.loss / one.loss, 1, 1e-5) << "tp " << tp << ", rdp " << rdp;
            EXPECT_NEAR(other.grad_norm / one.grad_norm, 1, 1e-4) << "tp " << tp << ", rdp " << rdp;
        }
    }
}

}  // namespace
}  // namespace smp::testing
