// If these fail, smp_plan would call a broken plan proven, or count wrongly what a stage holds.
#include "launch/plan/plan_report.h"

#include <gmock/gmock.h>

#include "tests/launch/small_config.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;

launch::Config pipeline_config(const Json& config = small_config()) {
    return load(config, {"parallel.pipeline_parallel_degree=2", "parallel.microbatches=4"});
}

TEST(PlanReport, ABrokenPlanIsRefusedByTheActionsThatDisagree) {
    partition::Plan plan = launch::report_on(pipeline_config(), 2).plan;
    EXPECT_THAT(launch::proof_of(plan), HasSubstr("proven"));
    auto& actions = plan.training.back().actions;
    const auto receive = std::find_if(actions.begin(), actions.end(), [](const partition::Action& action) {
        return action.kind == partition::ActionKind::receive;
    });
    receive->bytes += 4;
    try {
        launch::proof_of(plan);
        FAIL() << "a message with two lengths was proven";
    } catch (const std::logic_error& error) {
        EXPECT_THAT(error.what(), HasSubstr("the plan cannot be executed:\ntraining: stage 1 action 0 (receive "));
    }
}

TEST(PlanReport, TimeOfEachStageAddsUpToTheStep) {
    const launch::PlanReport report = launch::report_on(pipeline_config(), 4);
    EXPECT_EQ(report.plan.topology.degrees.rdp, 2);
    ASSERT_EQ(report.timeline.stages.size(), 2U);
    for (const partition::StageTime& time : report.timeline.stages)
        EXPECT_EQ(time.compute + time.exposed + time.bubble, report.timeline.makespan);
    EXPECT_GT(report.timeline.makespan, 0);
}

TEST(PlanReport, AStageHoldsWhatItsScheduleHolds) {
    const auto peaks = [](const std::vector<std::string>& sets) {
        std::vector<std::string> all = {"parallel.pipeline_parallel_degree=4", "parallel.microbatches=8"};
        all.insert(all.end(), sets.begin(), sets.end());
        std::vector<int> result;
        for (const auto& program : launch::report_on(load(small_config(), all), 4).plan.training)
            result.push_back(launch::peak_microbatches(program));
        return result;
    };
    EXPECT_THAT(peaks({"parallel.active_microbatches=4"}), ::testing::ElementsAre(4, 3, 2, 1));
    EXPECT_THAT(peaks({"parallel.pipeline=simple"}), ::testing::Each(8));
}

TEST(PlanReport, MomentsAreEightBytesAParameterOfTheStage) {
    const launch::PlanReport report = launch::report_on(pipeline_config(), 2);
    const auto parameters = static_cast<std::size_t>(partition::MemoryCategory::parameters);
    for (const partition::StageId stage : report.plan.training.ids())
        EXPECT_EQ(partition::optimizer_bytes(report.plan, report.graph, stage),
                  2 * partition::memory_forecast(report.plan, report.graph, stage).peak[parameters]);
}

// Values 2, gradients 4, moments 8, masters 4 bytes; what is kept and handed on takes less. Parameters of
// multiples of 128 elements are padded in neither.
TEST(PlanReport, SixteenBitsHaveTwoBytesAValueAndTwelveOfTheOptimizer) {
    using partition::MemoryCategory;
    launch::Config config = pipeline_config(with(small_config(), "model", "n_embd", 128));
    config.parallel.auto_partition = false;
    config.parallel.stage_layers = {static_cast<int>(config.gpt2.n_layer) - 1, 1};
    const launch::PlanReport wide = launch::report_on(config, 2);
    for (bool partition::ParallelOptions::*key :
         {&partition::ParallelOptions::bf16, &partition::ParallelOptions::fp16}) {
        launch::Config narrow = config;
        narrow.parallel.*key = true;
        const launch::PlanReport report = launch::report_on(narrow, 2);
        for (const partition::StageId stage : report.plan.training.ids()) {
            const auto of = [&](const launch::PlanReport& x, MemoryCategory category) {
                return partition::memory_forecast(x.plan, x.graph, stage).peak[static_cast<std::size_t>(category)];
            };
            const auto values = of(report, MemoryCategory::parameters);
            EXPECT_EQ(of(wide, MemoryCategory::parameters), 2 * values);
            EXPECT_EQ(of(report, MemoryCategory::gradients), 2 * values);
            EXPECT_EQ(partition::optimizer_bytes(report.plan, report.graph, stage), 6 * values);
            EXPECT_LT(of(report, MemoryCategory::boundaries), of(wide, MemoryCategory::boundaries));
            EXPECT_LT(of(report, MemoryCategory::activations), of(wide, MemoryCategory::activations));
        }
    }
}

}  // namespace
}  // namespace smp::testing
