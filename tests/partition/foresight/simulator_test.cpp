// The simulator's rules one by one, on programs made by hand.
#include "partition/foresight/simulator.h"

#include <stdexcept>

#include <gmock/gmock.h>

namespace smp::partition {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Programs and durations side by side. Each action signals an event of its own, whose number is its position.
class Script {
  public:
    explicit Script(int stages) : programs(static_cast<std::size_t>(stages)), durations(programs.size()) {}

    EventId add(int stage, const ActionDuration& duration, Action action) {
        RankProgram& program = programs[StageId(stage)];
        action.signals = EventId(program.events++);
        program.actions.push_back(std::move(action));
        durations[StageId(stage)].push_back(duration);
        return program.actions.back().signals;
    }
    EventId forward(int stage, std::int64_t duration, std::vector<EventId> waits = {}) {
        return add(stage, {duration, 0}, {.kind = ActionKind::forward, .waits = std::move(waits)});
    }
    EventId backward(int stage, std::int64_t duration, std::vector<EventId> waits = {}) {
        return add(stage, {duration, 0}, {.kind = ActionKind::backward, .waits = std::move(waits)});
    }
    EventId send(int stage, int peer, Channel channel, const ActionDuration& duration,
                 std::vector<EventId> waits = {}) {
        return add(stage, duration,
                   {.kind = ActionKind::send,
                    .peer = StageId(peer),
                    .channel = channel,
                    .stream = Stream::communication,
                    .waits = std::move(waits)});
    }
    EventId receive(int stage, int peer, Channel channel, std::vector<EventId> waits = {}) {
        return add(stage, {},
                   {.kind = ActionKind::receive,
                    .peer = StageId(peer),
                    .channel = channel,
                    .stream = Stream::communication,
                    .waits = std::move(waits)});
    }
    EventId reduce(int stage, const ActionDuration& duration, std::vector<EventId> waits = {}) {
        return add(stage, duration,
                   {.kind = ActionKind::reduce_gradients,
                    .channel = Channel::data,
                    .stream = Stream::communication,
                    .waits = std::move(waits)});
    }
    EventId copy(int stage, Stream stream, std::int64_t duration, std::vector<EventId> waits = {}) {
        return add(stage, {duration, 0},
                   {.kind = stream == Stream::copy_out ? ActionKind::offload : ActionKind::prefetch,
                    .stream = stream,
                    .waits = std::move(waits)});
    }
    EventId optimizer_step(int stage, std::int64_t duration, std::vector<EventId> waits = {}) {
        return add(stage, {duration, 0},
                   {.kind = ActionKind::optimizer_step, .channel = Channel::world, .waits = std::move(waits)});
    }

    Programs programs;
    Durations durations;
};

Place at(int stage, int position) { return {StageId(stage), ActionId(position)}; }

using Span = std::pair<std::int64_t, std::int64_t>;
Span span_of(const Timeline& timeline, int stage, int position) {
    const ActionSpan& run = timeline.spans[StageId(stage)][ActionId(position)];
    return {run.start, run.end};
}
std::int64_t posted_of(const Timeline& timeline, int stage, int position) {
    return timeline.spans[StageId(stage)][ActionId(position)].posted;
}

// Two stages, two microbatches, all forwards first on stage 0, in turns on stage 1. By hand:
//   stage 0: F0 0–10, F1 10–20, stands until 54, B0 54–74, stands until 84, B1 84–104, reduces 104–114, updates 114–119
//   stage 1: stands until 17, F0 17–27, B0 27–47, F1 47–57, B1 57–77, reduces 77–87, waits for stage 0, updates 114–119
//   activations 10–17 (link let go at 14) and 20–27, gradients 47–54 and 77–84
struct TwoStages : ::testing::Test {
    TwoStages() : script(2) {
        constexpr ActionDuration kActivation{.duration = 4, .latency = 3}, kGradient{.duration = 6, .latency = 1},
            kReduction{.duration = 8, .latency = 2};
        script.forward(0, 10);                                               // 0
        script.send(0, 1, Channel::activations, kActivation, {EventId(0)});  // 1
        script.forward(0, 10);                                               // 2
        script.send(0, 1, Channel::activations, kActivation, {EventId(2)});  // 3
        script.receive(0, 1, Channel::gradients, {EventId(2)});              // 4
        script.backward(0, 20, {EventId(1), EventId(4)});                    // 5
        script.receive(0, 1, Channel::gradients, {EventId(5)});              // 6
        script.backward(0, 20, {EventId(3), EventId(6)});                    // 7
        script.reduce(0, kReduction, {EventId(7)});                          // 8
        script.optimizer_step(0, 5, {EventId(8)});                           // 9

        script.receive(1, 0, Channel::activations);                         // 0
        script.receive(1, 0, Channel::activations);                         // 1
        script.forward(1, 10, {EventId(0)});                                // 2
        script.backward(1, 20);                                             // 3
        script.send(1, 0, Channel::gradients, kGradient, {EventId(3)});     // 4
        script.forward(1, 10, {EventId(1)});                                // 5
        script.backward(1, 20);                                             // 6
        script.send(1, 0, Channel::gradients, kGradient, {EventId(6)});     // 7
        script.reduce(1, kReduction, {EventId(6)});                         // 8
        script.optimizer_step(1, 5, {EventId(4), EventId(7), EventId(8)});  // 9
        timeline = simulate(script.programs, script.durations);
    }

    Script script;
    Timeline timeline;
};

TEST_F(TwoStages, RunWhenTheyCan) {
    const std::vector<Span> first = {{0, 10},  {10, 17}, {10, 20},  {20, 27},   {47, 54},
                                     {54, 74}, {77, 84}, {84, 104}, {104, 114}, {114, 119}};
    const std::vector<Span> second = {{10, 17}, {20, 27}, {17, 27}, {27, 47}, {47, 54},
                                      {47, 57}, {57, 77}, {77, 84}, {77, 87}, {114, 119}};
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(span_of(timeline, 0, i), first[i]) << i;
        EXPECT_EQ(span_of(timeline, 1, i), second[i]) << i;
    }
    EXPECT_EQ(timeline.makespan, 119);
    EXPECT_EQ(posted_of(timeline, 0, 4), 20);
    EXPECT_EQ(posted_of(timeline, 0, 6), 74);
    EXPECT_EQ(posted_of(timeline, 1, 1), 0);
    EXPECT_EQ(posted_of(timeline, 1, 9), 87);
}

TEST_F(TwoStages, StandStillForTransfersOrForWhatIsNotMade) {
    // Stage 0: 20–47 and 74–77 for gradients that were not there, 47–54, 77–84 and 104–114 for transfers.
    EXPECT_EQ(timeline.stages[StageId(0)], (StageTime{.compute = 65, .exposed = 24, .bubble = 30}));
    // Stage 1: 0–10 for the activation and 87–114 for stage 0; 10–17 and 77–87 for transfers.
    EXPECT_EQ(timeline.stages[StageId(1)], (StageTime{.compute = 65, .exposed = 17, .bubble = 37}));
    EXPECT_DOUBLE_EQ(timeline.bubble(), (54.0 + 54.0) / 130.0);
}

TEST_F(TwoStages, HaveACriticalPathThroughBoth) {
    EXPECT_THAT(critical_path(timeline), ElementsAre(at(0, 0), at(0, 1), at(1, 2), at(1, 3), at(1, 5), at(1, 6),
                                                     at(1, 7), at(0, 7), at(0, 8), at(0, 9)));
}

TEST_F(TwoStages, AreIndependentOfOtherRunsAndOfThePriceOfReceives) {
    script.durations[StageId(1)][ActionId(0)] = script.durations[StageId(1)][ActionId(1)] =
        script.durations[StageId(0)][ActionId(4)] = {.duration = 1000, .latency = 1000};
    const Timeline again = simulate(script.programs, script.durations);
    EXPECT_EQ(again.spans, timeline.spans);
    EXPECT_EQ(again.stages, timeline.stages);
}

// All channels of a pair share one link; those that become ready at one tick go by channel.
TEST(Simulator, AChannelWaitsForTheLinkOfAnother) {
    constexpr ActionDuration kSend{.duration = 5, .latency = 2};
    Script script(2);
    script.forward(0, 10);
    for (const Channel channel : {Channel::tied, Channel::gradients, Channel::activations, Channel::activations})
        script.send(0, 1, channel, kSend);
    script.receive(0, 1, Channel::activations);
    for (const Channel channel : {Channel::gradients, Channel::activations, Channel::tied, Channel::activations})
        script.receive(1, 0, channel);
    script.forward(1, 10);
    script.send(1, 0, Channel::activations, kSend);
    const Timeline timeline = simulate(script.programs, script.durations);
    EXPECT_EQ(span_of(timeline, 0, 3), Span(10, 17));
    EXPECT_EQ(span_of(timeline, 0, 4), Span(15, 22));
    EXPECT_EQ(span_of(timeline, 0, 2), Span(20, 27));
    EXPECT_EQ(span_of(timeline, 0, 1), Span(25, 32));
    EXPECT_EQ(span_of(timeline, 1, 5), Span(10, 17)) << "the other direction has a link of its own";
    EXPECT_THAT(critical_path(timeline), ElementsAre(at(0, 0), at(0, 3), at(0, 4), at(0, 2), at(0, 1)));
}

// Whichever stage was the last to post: both messages become ready at 10.
TEST(Simulator, ALinkChoosesAmongAllThatAreReadyAtATick) {
    Script script(2);
    script.send(0, 1, Channel::activations, {.duration = 5});
    script.forward(0, 10);
    script.send(0, 1, Channel::gradients, {.duration = 5});
    script.receive(1, 0, Channel::gradients);
    script.forward(1, 10);
    script.receive(1, 0, Channel::activations);
    const Timeline timeline = simulate(script.programs, script.durations);
    EXPECT_EQ(span_of(timeline, 0, 0), Span(10, 15));
    EXPECT_EQ(span_of(timeline, 0, 2), Span(15, 20));
}

TEST(Simulator, ALinkServesInTheOrderOfReadiness) {
    Script script(2);
    script.send(0, 1, Channel::gradients, {.duration = 20});
    script.forward(0, 2);
    script.send(0, 1, Channel::tied, {.duration = 3});
    script.forward(0, 2);
    script.send(0, 1, Channel::activations, {.duration = 4});
    for (const Channel channel : {Channel::activations, Channel::gradients, Channel::tied})
        script.receive(1, 0, channel);
    const Timeline timeline = simulate(script.programs, script.durations);
    EXPECT_EQ(span_of(timeline, 0, 0), Span(0, 20));
    EXPECT_EQ(span_of(timeline, 0, 2), Span(20, 23)) << "ready at 2";
    EXPECT_EQ(span_of(timeline, 0, 4), Span(23, 27)) << "ready at 4";
}

// A message that is queueing for its link has been made: that is the network's fault, not the schedule's.
TEST(Simulator, QueueingForALinkIsExposed) {
    Script script(2);
    script.send(0, 1, Channel::activations, {.duration = 30});
    script.send(0, 1, Channel::gradients, {.duration = 5, .latency = 1});
    script.receive(1, 0, Channel::activations);
    const EventId waited_for = script.receive(1, 0, Channel::gradients);
    script.forward(1, 4, {waited_for});
    const Timeline timeline = simulate(script.programs, script.durations);
    EXPECT_EQ(timeline.stages[StageId(1)], (StageTime{.compute = 4, .exposed = 36, .bubble = 0}));
    EXPECT_EQ(timeline.stages[StageId(0)], (StageTime{.compute = 0, .exposed = 0, .bubble = 40}));
}

// One message on its way while another one has not been made: shortening the first would gain nothing.
TEST(Simulator, OfSeveralWaitsTheOneNotMadeDecides) {
    Script script(3);
    script.send(0, 2, Channel::activations, {.duration = 9, .latency = 0});
    script.forward(1, 6);
    script.send(1, 2, Channel::activations, {.duration = 5, .latency = 0});
    const EventId early = script.receive(2, 0, Channel::activations), late = script.receive(2, 1, Channel::activations);
    script.forward(2, 1, {early, late});
    EXPECT_EQ(simulate(script.programs, script.durations).stages[StageId(2)],
              (StageTime{.compute = 1, .exposed = 5, .bubble = 6}));
}

// A list is issued in order: while it stops at a wait, nothing behind it is posted.
TEST(Simulator, AWaitHoldsUpWhatIsBehindIt) {
    Script script(2);
    const EventId first = script.receive(0, 1, Channel::activations);
    script.send(0, 1, Channel::activations, {.duration = 1}, {first});
    script.send(0, 1, Channel::gradients, {.duration = 1});
    script.forward(1, 50);
    script.send(1, 0, Channel::activations, {.duration = 1});
    script.receive(1, 0, Channel::gradients);
    script.receive(1, 0, Channel::activations);
    const Timeline timeline = simulate(script.programs, script.durations);
    EXPECT_EQ(posted_of(timeline, 0, 2), 51);
    EXPECT_EQ(span_of(timeline, 0, 1), Span(51, 52));
    EXPECT_EQ(span_of(timeline, 0, 2), Span(52, 53));
}

TEST(Simulator, ReductionsOfAStageShareItsLinkAndNobodyElses) {
    Script script(2);
    for (const int stage : {0, 1}) {
        script.reduce(stage, {.duration = 10, .latency = 3});
        script.reduce(stage, {.duration = 10, .latency = 3});
        script.backward(stage, 5);
        script.optimizer_step(stage, 2, {EventId(0), EventId(1)});
    }
    const Timeline timeline = simulate(script.programs, script.durations);
    for (const int stage : {0, 1}) {
        EXPECT_EQ(span_of(timeline, stage, 0), Span(0, 13));
        EXPECT_EQ(span_of(timeline, stage, 1), Span(10, 23));
        EXPECT_EQ(span_of(timeline, stage, 3), Span(23, 25));
        EXPECT_EQ(timeline.stages[StageId(stage)], (StageTime{.compute = 7, .exposed = 18, .bubble = 0}));
    }
}

TEST(Simulator, CollectivesOverTheWorldStartTogetherAndEndOnTheirOwn) {
    Script script(3);
    for (const int stage : {0, 1, 2}) {
        script.forward(stage, 10 * stage);
        script.optimizer_step(stage, 5 + stage);
        script.optimizer_step(stage, 1);
    }
    const Timeline timeline = simulate(script.programs, script.durations);
    for (const int stage : {0, 1, 2}) {
        EXPECT_EQ(span_of(timeline, stage, 1), Span(20, 25 + stage));
        EXPECT_EQ(span_of(timeline, stage, 2), Span(27, 28));
    }
    EXPECT_EQ(timeline.stages[StageId(0)], (StageTime{.compute = 6, .exposed = 0, .bubble = 22}));
    EXPECT_THAT(critical_path(timeline), ElementsAre(at(2, 0), at(2, 1), at(0, 2)));
}

TEST(Simulator, WhatTakesNoTimeLetsItsCauseThrough) {
    Script script(2);
    const EventId made = script.forward(0, 7);
    script.forward(0, 0);
    script.send(0, 1, Channel::activations, {}, {made});
    const EventId received = script.receive(1, 0, Channel::activations);
    script.forward(1, 0, {received});
    script.forward(1, 3);
    EXPECT_THAT(critical_path(simulate(script.programs, script.durations)), ElementsAre(at(0, 0), at(0, 2), at(1, 2)));
}

TEST(Simulator, NothingTakesNoTime) {
    EXPECT_EQ(simulate({}, {}).makespan, 0);
    const Timeline empty = simulate(Programs(2), Durations(2));
    EXPECT_EQ(empty.makespan, 0);
    EXPECT_EQ(empty.bubble(), 0);
    EXPECT_TRUE(critical_path(empty).empty());
}

TEST(Simulator, CopiesRunBesideComputeEachDirectionOneAfterTheOther) {
    Script script(1);
    const EventId first = script.forward(0, 10);
    script.copy(0, Stream::copy_out, 15, {first});
    const EventId second = script.forward(0, 10, {first});
    const EventId out = script.copy(0, Stream::copy_out, 15, {second});
    const EventId back = script.copy(0, Stream::copy_in, 4, {second});
    script.backward(0, 5, {back});
    script.backward(0, 5, {out});
    const Timeline timeline = simulate(script.programs, script.durations);
    const auto& runs = timeline.spans[StageId(0)];
    EXPECT_EQ((std::pair{runs[ActionId(1)].start, runs[ActionId(1)].end}),
              (std::pair<std::int64_t, std::int64_t>{10, 25}));
    EXPECT_EQ((std::pair{runs[ActionId(3)].start, runs[ActionId(3)].end}),
              (std::pair<std::int64_t, std::int64_t>{25, 40}));
    EXPECT_EQ((std::pair{runs[ActionId(4)].start, runs[ActionId(4)].end}),
              (std::pair<std::int64_t, std::int64_t>{20, 24}));
    EXPECT_EQ((std::pair{runs[ActionId(5)].start, runs[ActionId(5)].end}),
              (std::pair<std::int64_t, std::int64_t>{24, 29}));
    EXPECT_EQ((std::pair{runs[ActionId(6)].start, runs[ActionId(6)].end}),
              (std::pair<std::int64_t, std::int64_t>{40, 45}));
    EXPECT_EQ(timeline.stages[StageId(0)], (StageTime{.compute = 30, .exposed = 15, .bubble = 0}));
}

/// What simulate says when it refuses.
std::string refusal(const Script& script) {
    try {
        simulate(script.programs, script.durations);
    } catch (const std::logic_error& error) {
        return error.what();
    }
    return "";
}

TEST(Simulator, RefusesProgramsThatStop) {
    Script circle(2);  // each waits for the other before it sends
    for (const int stage : {0, 1}) {
        const EventId received = circle.receive(stage, 1 - stage, Channel::activations);
        circle.send(stage, 1 - stage, Channel::activations, {}, {received});
    }
    EXPECT_THAT(refusal(circle), HasSubstr("stage 0 stops for ever at action 1 (send activations -> stage 1)"));

    Script alone(2);
    alone.optimizer_step(1, 1);
    EXPECT_THAT(refusal(alone), HasSubstr("stage 1 stops for ever at action 0 (optimizer step)"));

    Script unmet(2);
    unmet.send(0, 1, Channel::activations, {});
    unmet.receive(1, 0, Channel::gradients);
    EXPECT_THAT(refusal(unmet), HasSubstr("stage 0 action 0 (send activations -> stage 1) meets nothing"));

    Script unsignalled(1);
    unsignalled.programs[StageId(0)].events = 1;
    unsignalled.forward(0, 1, {EventId(0)});
    EXPECT_THAT(refusal(unsignalled), HasSubstr("stage 0 stops for ever at action 0"));
}

TEST(Simulator, RefusesPricesThatDoNotFit) {
    Script script(2);
    script.forward(0, 1);
    script.forward(1, 1);
    const Durations fitting = script.durations;
    EXPECT_EQ(refusal(script), "");
    script.durations.pop_back();
    EXPECT_THAT(refusal(script), HasSubstr("durations of 1 stages for programs of 2"));
    script.durations = fitting;
    script.durations[StageId(1)].emplace_back();
    EXPECT_THAT(refusal(script), HasSubstr("2 durations for the 1 actions of stage 1"));
    script.durations = fitting;
    script.durations[StageId(0)][ActionId(0)].duration = -1;
    EXPECT_THAT(refusal(script), HasSubstr("F of stage 0 has a duration below 0"));
    script.durations[StageId(0)][ActionId(0)] = {.duration = 0, .latency = -1};
    EXPECT_THAT(refusal(script), HasSubstr("F of stage 0 has a duration below 0"));
}

}  // namespace
}  // namespace smp::partition
