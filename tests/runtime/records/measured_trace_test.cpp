// If these fail, what a traced step is said to have taken, or to have been predicted at, is not what was measured.
#include "runtime/records/measured_trace.h"

#include <gmock/gmock.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "partition/foresight/measured_durations.h"
#include "partition/foresight/simulator.h"
#include "tests/partition/small_jobs.h"

namespace smp::runtime {
namespace {

using partition::PipelineSchedule;
using ::testing::HasSubstr;

partition::Plan any_plan() {
    partition::testing::Job job;
    job.stages = *rc::gen::inRange(1, 5);
    job.microbatches = *rc::gen::inRange(1, 9);
    job.tied = *rc::gen::arbitrary<bool>();
    job.schedule =
        *rc::gen::element(PipelineSchedule::simple, PipelineSchedule::interleaved, PipelineSchedule::zero_bubble);
    if (job.schedule == PipelineSchedule::interleaved) job.chunks_per_stage = *rc::gen::inRange(1, 3);
    return partition::testing::plan_of(job);
}

partition::Durations any_prices(const partition::Plan& plan) {
    partition::Durations durations;
    for (const auto& program : plan.training) {
        auto& of_stage = durations.emplace_back();
        for (const auto& action : program.actions) {
            const bool transfers = action.stream == partition::Stream::communication;
            of_stage.push_back({.duration = *rc::gen::inRange<std::int64_t>(transfers ? 0 : 1, 1000),
                                .latency = transfers ? *rc::gen::inRange<std::int64_t>(0, 500) : 0});
        }
    }
    return durations;
}

/// What ranks would measure that run exactly as simulated, from some moment on.
partition::StepTimes as_if_measured(const partition::Plan& plan, const partition::Timeline& timeline,
                                    std::int64_t from) {
    partition::StepTimes times{.step = 3};
    for (const partition::StageId stage : timeline.spans.ids()) {
        auto& rank = times.ranks.emplace_back();
        std::int64_t reached = from;
        for (const partition::ActionId i : timeline.spans[stage].ids()) {
            const partition::ActionSpan& run = timeline.spans[stage][i];
            rank.push_back({.reached = reached, .start = from + run.posted, .end = from + run.end});
            const bool computes = plan.training[stage].actions[i].stream == partition::Stream::compute;
            reached = computes ? rank.back().end : rank.back().start;
        }
    }
    return times;
}

RC_GTEST_PROP(MeasuredStep, SimulatedAgainIsTheStepItself, ()) {
    const partition::Plan plan = any_plan();
    const partition::Timeline timeline = partition::simulate(plan.training, any_prices(plan));
    const partition::StepTimes times =
        as_if_measured(plan, timeline, *rc::gen::inRange<std::int64_t>(0, 1'000'000'000));
    RC_ASSERT(partition::measured_nanoseconds(plan, times) == timeline.makespan);
    // Two quotients of the same integers, written in two ways: a few roundings of numbers below 10.
    RC_ASSERT(std::abs(partition::measured_bubble(plan, times) - timeline.bubble()) < 1e-13);
    const partition::Timeline again = partition::simulate(plan.training, partition::measured_durations(plan, times));
    RC_ASSERT(again.makespan == timeline.makespan);
    RC_ASSERT(again.bubble() == timeline.bubble());
}

// A thread that is kept from its list makes the next action longer. One that waits for what its plan does not name
// makes the measured step longer than the simulated one: that is how it shows.
TEST(MeasuredStep, BusyTimeCountsAndUnplannedWaitsDoNot) {
    const partition::Plan plan = partition::testing::plan_of({.stages = 1, .microbatches = 3});
    partition::Durations durations;
    durations.emplace_back(plan.training.front().actions.size(), partition::ActionDuration{.duration = 10});
    const partition::Timeline timeline = partition::simulate(plan.training, durations);
    for (const bool waits : {false, true}) {
        partition::StepTimes times = as_if_measured(plan, timeline, 0);
        for (const partition::ActionId i : times.ranks[0].ids()) {
            if (i < partition::ActionId(2)) continue;
            partition::ActionTime& time = times.ranks[0][i];
            if (i > partition::ActionId(2) || !waits) time.reached += 7;
            time.start += 7;
            time.end += 7;
        }
        const std::int64_t measured = partition::measured_nanoseconds(plan, times);
        EXPECT_EQ(measured, timeline.makespan + 7);
        EXPECT_EQ(partition::simulate(plan.training, partition::measured_durations(plan, times)).makespan,
                  waits ? timeline.makespan : measured);
    }
}

// Durations of the model at rates of our choice are found to be of those rates, but for rounding to whole nanoseconds.
TEST(MeasuredStep, FindsTheRatesOfTheModel) {
    const auto plan = partition::testing::plan_of({.stages = 3, .microbatches = 4});
    auto graph = partition::testing::chain(4, false);
    for (partition::Module& module : graph.modules) {
        module.forward_flops *= 1e6;
        module.backward_flops *= 1e6;
        module.weight_flops *= 1e6;
        module.parameter_count *= 1'000'000;
    }
    partition::Rates rates;
    rates.flops_per_second = 3e11;
    rates.memory_bytes_per_second = 5e11;
    const auto found = partition::achieved_rates(plan, graph, modelled_durations(plan, plan.training, graph, rates));
    EXPECT_NEAR(found.flops_per_second, rates.flops_per_second, 1e-5 * rates.flops_per_second);
    EXPECT_NEAR(found.memory_bytes_per_second, rates.memory_bytes_per_second, 1e-5 * rates.memory_bytes_per_second);
    EXPECT_EQ(found.between_nodes, rates.between_nodes);
}

TEST(MeasuredStep, SaysSoInOneLine) {
    const auto plan = partition::testing::plan_of({.stages = 2, .microbatches = 1});
    const auto graph = partition::testing::chain(3, false);
    partition::Durations durations;
    for (const auto& program : plan.training) {
        auto& of_stage = durations.emplace_back();
        for (const auto& action : program.actions)
            of_stage.push_back({.duration = action.stream == partition::Stream::compute ? 1'000'000 : 0, .latency = 0});
    }
    // Two forwards, two backwards, each alone, then both optimizer steps together: 5 ms, each rank 3 ms busy.
    const std::string line =
        partition::comparison(plan, graph, as_if_measured(plan, simulate(plan.training, durations), 0));
    EXPECT_THAT(line, HasSubstr("step 3 traced: bubble 0.667 measured"));
    EXPECT_THAT(line, HasSubstr("0.667 simulated from its own times; 0.005 s measured"));
    EXPECT_THAT(line, HasSubstr("0.005 s simulated"));
}

RC_GTEST_PROP(MeasuredStep, IsDrawnActionByAction, ()) {
    const partition::Plan plan = any_plan();
    const partition::Timeline timeline = partition::simulate(plan.training, any_prices(plan));
    const partition::StepTimes times = as_if_measured(plan, timeline, 700);
    Trace trace = trace_of_ranks(plan);
    add_step(trace, plan, times, 700);
    std::size_t next = 0;
    for (const partition::StageId stage : plan.training.ids()) {
        const auto& actions = plan.training[stage].actions;
        for (const partition::ActionId i : actions.ids()) {
            const TraceSpan& span = trace.spans.at(next++);
            RC_ASSERT(span.process == stage.number());
            RC_ASSERT(span.name == partition::name_of(actions[i]));
            RC_ASSERT(span.step == 3);
            RC_ASSERT(span.start_ns + span.duration_ns == timeline.spans[stage][i].end);
            RC_ASSERT(span.start_ns >= timeline.spans[stage][i].posted);
        }
    }
    RC_ASSERT(trace.spans.size() == next);
}

}  // namespace
}  // namespace smp::runtime
