// If these fail, the metrics say wrong things of where a step's time goes, or the rank that slows all others stays
// unnamed.
#include <chrono>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"

namespace smp::runtime {
namespace {

using partition::ActionKind;

class StepWatch : public ::testing::Test {
  protected:
    /// Records of rank 0, each rank slowed by `delay` where `is_slow(rank, step)` says so; `step` from 1.
    std::vector<StepRecord> train(const Job& job, int ranks, std::chrono::milliseconds delay,
                                  const std::function<bool(int rank, std::int64_t step)>& is_slow) {
        std::vector<StepRecord> records;
        testing::on_local_ranks(ranks, [&](comms::Communicator& world) {
            std::int64_t step = 0;
            TrainerOptions options;
            options.executor.before_action = [&](const partition::Action& action) {
                if (action.kind == ActionKind::forward && is_slow(world.rank(), step))
                    std::this_thread::sleep_for(delay);
            };
            Trainer trainer(job, world, std::move(options));
            while (trainer.steps_done() < job.training.steps) {
                step = trainer.steps_done() + 1;
                const StepRecord record = trainer.step();
                if (world.rank() == 0) records.push_back(record);
            }
        });
        return records;
    }

    testing::ScratchFolder folder_;
};

// From step 20 on one rank takes several times as long, whatever else this machine does: the sleep is far more than a
// forward. It is named within ten steps, in the metrics and, once, in the log.
TEST_F(StepWatch, AStragglerIsNamedWithinTenSteps) {
    Job job = testing::small_training_job(folder_);
    job.training.steps = 30;
    job.parallel.pipeline_parallel_degree = 2;
    job.parallel.tensor_parallel_degree = 2;
    constexpr int kSlow = 2;
    const auto records = train(job, 4, std::chrono::milliseconds(40),
                               [](int rank, std::int64_t step) { return rank == kSlow && step >= 20; });
    ASSERT_EQ(records.size(), 30U);
    int named = 0, sentences = 0;
    for (const StepRecord& record : records) {
        if (record.step >= 26 && record.straggler_rank == kSlow) ++named;
        if (record.notice.find(fmt::format("rank {} (pp 1, tp 0, rdp 0) on ", kSlow)) != std::string::npos) ++sentences;
    }
    EXPECT_EQ(named, 5);
    EXPECT_EQ(sentences, 1);
    EXPECT_EQ(records.back().slowest_rank, kSlow);
    // It works while the others wait for it.
    EXPECT_GE(records.back().slowest_rank_seconds, 4 * 0.04);
    EXPECT_GE(records.back().wait_seconds, 2 * 0.04);
}

TEST_F(StepWatch, PartsOfAStepAreNoMoreThanTheStep) {
    Job job = testing::small_training_job(folder_);
    job.training.steps = 6;
    job.parallel.pipeline_parallel_degree = 2;
    job.parallel.tensor_parallel_degree = 2;
    const auto records = train(job, 8, {}, [](int, std::int64_t) { return false; });
    for (const StepRecord& record : records) {
        ASSERT_EQ(record.ranks.size(), 8U);
        EXPECT_LE(record.ranks[0].seconds, record.seconds);
        for (const RankStep& rank : record.ranks) {
            EXPECT_GE(rank.wait_seconds, rank.exposed_seconds);
            EXPECT_GE(rank.exposed_seconds, 0);
            EXPECT_GE(rank.seconds, rank.wait_seconds + rank.data_seconds);
            EXPECT_GE(rank.seconds, rank.busy_seconds + rank.idle_seconds + rank.data_seconds);
            EXPECT_GT(rank.busy_seconds, 0);
            EXPECT_GT(rank.data_seconds, 0);
            EXPECT_LE(static_cast<std::int64_t>(rank.tensor_bytes), record.memory_bytes);
        }
        // Two stages cannot both have been busy all the time.
        EXPECT_GT(record.bubble, 0);
        EXPECT_GT(record.resident_bytes.value(), record.memory_bytes);
        EXPECT_GT(record.node_memory_bytes.value(), 0);
        EXPECT_GE(record.cpu_utilization.value(), 0);
        EXPECT_FALSE(record.ranks[1].resident_bytes > 0) << "the first rank of a process reads its memory";
    }
}

}  // namespace
}  // namespace smp::runtime
