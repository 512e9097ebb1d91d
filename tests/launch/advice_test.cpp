// If these fail, a person is told to change what is no better, or not told what is.
#include "runtime/job/advice.h"

#include <gmock/gmock.h>

#include "partition/foresight/memory_forecast.h"
#include "runtime/job/job_plan.h"
#include "tests/launch/small_config.h"

namespace smp::testing {
namespace {

using runtime::Observed;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Advice : public ::testing::Test {
  protected:
    static launch::Config job(const std::vector<std::string>& sets, int ranks) {
        return load(with(with(small_config(), "training", "sequence_length", 64), "training", "global_batch_size", 16),
                    sets, ranks);
    }
    static std::vector<std::string> advice(const std::vector<std::string>& sets, int ranks, const Observed& observed) {
        const launch::Config config = job(sets, ranks);
        return runtime::advice_after(config, runtime::plan_of(config, ranks), runtime::graph_of(config, ranks),
                                     observed);
    }
    static std::int64_t peak(const std::vector<std::string>& sets, int ranks) {
        const launch::Config config = job(sets, ranks);
        const auto plan = runtime::plan_of(config, ranks);
        std::int64_t most = 0;
        for (const auto stage : plan.training.ids())
            most =
                std::max(most, partition::memory_forecast(plan, runtime::graph_of(config, ranks), stage).device_peak);
        return most;
    }
    static std::string gib(double bytes) {
        return fmt::format("cluster.memory_limit_gib={}", bytes / static_cast<double>(1 << 30));
    }
    static std::vector<std::string> plus(std::vector<std::string> sets, const std::string& set) {
        sets.push_back(set);
        return sets;
    }
};

const std::vector<std::string> kPipeline = {"parallel.pipeline_parallel_degree=4", "parallel.microbatches=16"};

TEST_F(Advice, AnIdlePipelineIsToldHowManyMicrobatchesShouldBeActive) {
    const auto few = plus(kPipeline, "parallel.active_microbatches=2");
    const auto said = advice(few, 4, {.step_seconds = 1, .bubble = 1.2});
    const auto then = plus(kPipeline, "parallel.active_microbatches=4");
    EXPECT_THAT(
        said, ElementsAre(
                  AllOf(HasSubstr("idle for 120 % on top of their work: parallel.active_microbatches = 4 instead of 2"),
                        HasSubstr(fmt::format("the largest rank from {} to {}", partition::shown_bytes(peak(few, 4)),
                                              partition::shown_bytes(peak(then, 4)))))));
    // Not measured: by the plan.
    EXPECT_THAT(advice(few, 4, {.step_seconds = 1}),
                Contains(HasSubstr(", by the plan: parallel.active_microbatches = 4")));
    // Not seen; or not possible.
    EXPECT_THAT(advice(few, 4, {.step_seconds = 1, .bubble = 0.05}), IsEmpty());
    const double tight = static_cast<double>(peak(few, 4) + peak(then, 4)) / 2;
    EXPECT_THAT(advice(plus(few, gib(tight)), 4, {.step_seconds = 1, .bubble = 1.2, .device_peak = peak(few, 4)}),
                Not(Contains(HasSubstr("active_microbatches"))));
}

TEST_F(Advice, FewMicrobatchesInAPipelineAreToldToBeMore) {
    const std::vector<std::string> few = {"parallel.pipeline_parallel_degree=4", "parallel.microbatches=4",
                                          "model.vocab_size=64"};
    EXPECT_THAT(advice(few, 4, {.step_seconds = 1, .bubble = 0.8}),
                ElementsAre(HasSubstr("parallel.microbatches = 8 instead of 4 takes the plan's bubble from")));
}

TEST_F(Advice, ASwitchThatCostsTimeAndIsNotNeededIsNamed) {
    const std::vector<std::string> each = {"parallel.activation_checkpointing=each", "parallel.microbatches=2"};
    const auto without = peak({"parallel.microbatches=2"}, 1);
    ASSERT_GT(without, peak(each, 1));
    const Observed seen{.step_seconds = 1, .device_peak = peak(each, 1)};
    EXPECT_THAT(advice(plus(each, gib(1.1 * static_cast<double>(without))), 1, seen),
                Contains(AllOf(HasSubstr("this job fits without parallel.activation_checkpointing = \"each\""),
                               HasSubstr(partition::shown_bytes(without)), HasSubstr("% less time"))));
    EXPECT_THAT(advice(plus(each, gib(0.99 * static_cast<double>(without))), 1, seen),
                Not(Contains(HasSubstr("fits without"))));
    EXPECT_THAT(advice(each, 1, seen), Not(Contains(HasSubstr("fits without"))));  // nobody knows the limit
}

TEST_F(Advice, ASwitchThatSavesNothingIsNamed) {
    EXPECT_THAT(advice({"parallel.shard_optimizer_state=true"}, 1, {.step_seconds = 1}),
                ElementsAre(HasSubstr("parallel.shard_optimizer_state saves nothing here")));
    EXPECT_THAT(advice({"parallel.shard_optimizer_state=true"}, 2, {.step_seconds = 1}), IsEmpty());
}

TEST_F(Advice, TensorParallelismOverHostsHasItsPrice) {
    const std::vector<std::string> tensor = {"parallel.tensor_parallel_degree=2"};
    EXPECT_THAT(advice(tensor, 2, {.step_seconds = 1e-4, .nodes = {0, 1}}),
                Contains(HasSubstr("tensor parallelism runs over hosts: by the plan's links a step takes")));
    EXPECT_THAT(advice(tensor, 2, {.step_seconds = 1e-4, .nodes = {0, 0}}), Not(Contains(HasSubstr("hosts"))));
    EXPECT_THAT(advice(tensor, 2, {.step_seconds = 1e3, .nodes = {0, 1}}), Not(Contains(HasSubstr("hosts"))));
}

TEST_F(Advice, MemoryThatLiesIdleIsOffered) {
    const std::vector<std::string> eight = {"parallel.microbatches=8"}, one = {"parallel.microbatches=1"};
    const auto room = [&](const auto& sets) { return plus(sets, gib(4 * static_cast<double>(peak(sets, 1)))); };
    EXPECT_THAT(advice(room(eight), 1, {.step_seconds = 1, .device_peak = peak(eight, 1)}),
                ElementsAre(HasSubstr("parallel.microbatches = 4 instead of 8 makes them twice as large")));
    EXPECT_THAT(advice(room(one), 1, {.step_seconds = 1, .device_peak = peak(one, 1)}),
                ElementsAre(HasSubstr("a batch twice as large fits, too")));
    EXPECT_THAT(advice(plus(one, gib(1.2 * static_cast<double>(peak(one, 1)))), 1,
                       {.step_seconds = 1, .device_peak = peak(one, 1)}),
                IsEmpty());
}

TEST_F(Advice, MicrobatchesOfLessThanAMillisecondAreTooSmall) {
    const std::vector<std::string> eight = {"parallel.microbatches=8"};
    EXPECT_THAT(advice(eight, 1, {.step_seconds = 4e-3}),
                ElementsAre(HasSubstr("takes a stage 500 us, of which starting its operators")));
    EXPECT_THAT(advice(eight, 1, {.step_seconds = 4}), IsEmpty());
    EXPECT_THAT(advice({"parallel.microbatches=1"}, 1, {.step_seconds = 1e-4}), IsEmpty());
}

}  // namespace
}  // namespace smp::testing
