// The most that a program holds, from its order alone.
#include "partition/foresight/memory_peaks.h"

#include <gtest/gtest.h>

#include "partition/foresight/memory_forecast.h"
#include "partition/plan/action_use.h"
#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

constexpr BufferId kParameters(0), kInput(1), kStash(2), kDeferred(3), kScratch(4), kSent(5);

/// Each buffer has a digit of its own.
RankProgram program() {
    return {.buffers = {{.kind = BufferKind::parameters, .bytes = 1},
                        {.kind = BufferKind::activation_in, .bytes = 10},
                        {.kind = BufferKind::stash, .bytes = 100},
                        {.kind = BufferKind::deferred, .bytes = 1000},
                        {.kind = BufferKind::scratch, .bytes = 10000},
                        {.kind = BufferKind::activation_out, .bytes = 100000}}};
}

std::int64_t of(const MemoryPeaks& peaks, MemoryCategory category) {
    return peaks.of_category[static_cast<std::size_t>(category)];
}

TEST(MemoryPeaks, CountFromTheWriterToTheEndOfWhatFrees) {
    RankProgram p = program();
    p.actions = {{.kind = ActionKind::forward, .writes = {kInput, kStash}, .growth_bytes = 110},
                 {.kind = ActionKind::forward, .writes = {kDeferred}, .frees = {kInput}, .growth_bytes = 1000},
                 {.kind = ActionKind::forward, .frees = {kStash, kDeferred}}};
    const MemoryPeaks peaks = memory_peaks(p);
    EXPECT_EQ(peaks.device, 1 + 110 + 1000);
    EXPECT_EQ(of(peaks, MemoryCategory::parameters), 1);
    EXPECT_EQ(of(peaks, MemoryCategory::boundaries), 10);
    EXPECT_EQ(of(peaks, MemoryCategory::activations), 100);
    EXPECT_EQ(of(peaks, MemoryCategory::deferred), 1000);
}

TEST(MemoryPeaks, DoNotCountTwiceWhatIsHandedOverPieceByPiece) {
    RankProgram p = program();
    p.actions = {{.kind = ActionKind::forward, .writes = {kStash}, .growth_bytes = 100},
                 {.kind = ActionKind::backward_input, .writes = {kDeferred}, .consumes = {kStash}, .growth_bytes = 950},
                 {.kind = ActionKind::backward_weight, .consumes = {kDeferred}}};
    EXPECT_EQ(memory_peaks(p).device, 1 + 100 + 950);
}

TEST(MemoryPeaks, CountScratchWhileItsActionRuns) {
    RankProgram p = program();
    p.actions = {{.kind = ActionKind::forward, .scratch = {kScratch}, .growth_bytes = 10000},
                 {.kind = ActionKind::forward, .writes = {kStash}, .growth_bytes = 100},
                 {.kind = ActionKind::backward, .consumes = {kStash}}};
    const MemoryPeaks peaks = memory_peaks(p);
    EXPECT_EQ(peaks.device, 1 + 10000);
    EXPECT_EQ(of(peaks, MemoryCategory::other), 10000);
}

TEST(MemoryPeaks, KeepWhatIsSentUntilSomebodyHasWaitedForIt) {
    RankProgram p = program();
    const Action send{.kind = ActionKind::send,
                      .peer = StageId(1),
                      .channel = Channel::activations,
                      .stream = Stream::communication,
                      .reads = {kSent},
                      .frees = {kSent},
                      .signals = EventId(0)};
    p.events = 1;
    p.actions = {{.kind = ActionKind::forward, .writes = {kSent}, .growth_bytes = 100000},
                 send,
                 {.kind = ActionKind::forward, .writes = {kStash}, .growth_bytes = 100},
                 {.kind = ActionKind::backward, .writes = {kDeferred}, .growth_bytes = 1000, .waits = {EventId(0)}}};
    EXPECT_EQ(memory_peaks(p).device, 1 + 100000 + 100);
    std::swap(p.actions[ActionId(2)].waits, p.actions[ActionId(3)].waits);
    EXPECT_EQ(memory_peaks(p).device, 1 + 100000);
}

// Reductions use it in turn, step after step.
TEST(MemoryPeaks, CountWhatReductionsTakeThroughout) {
    RankProgram p = program();
    p.buffers.push_back({.kind = BufferKind::reduction_scratch, .bytes = 1000000});
    p.actions = {{.kind = ActionKind::forward, .writes = {kStash}, .growth_bytes = 100}};
    const MemoryPeaks peaks = memory_peaks(p);
    EXPECT_EQ(peaks.lasting[static_cast<std::size_t>(MemoryCategory::communication)], 1000000);
    EXPECT_EQ(peaks.device, 1000001 + 100);
    EXPECT_EQ(of(peaks, MemoryCategory::communication), 1000000);
}

TEST(MemoryForecast, OfAnEvaluationCountsWhatStaysBesideIt) {
    ModuleGraph graph = testing::chain(4, true);
    graph.modules.back().passes.evaluation = {.scratch = 70000, .growth = 70000};
    Plan plan = make_plan(graph, testing::options_by_hand({2, 2}, 3), {.pp = 2}, 5);
    const MemoryForecast step = memory_forecast(plan, graph, StageId(1));
    const MemoryForecast evaluation = evaluation_forecast(plan, graph, StageId(1));
    for (const auto stays : {MemoryCategory::parameters, MemoryCategory::gradients, MemoryCategory::optimizer}) {
        const auto c = static_cast<std::size_t>(stays);
        EXPECT_EQ(evaluation.peak[c], step.peak[c]) << word_of(stays);
    }
    const auto other = static_cast<std::size_t>(MemoryCategory::other);
    EXPECT_LT(step.peak[other], 70000);
    EXPECT_GE(evaluation.peak[other], 70000);
    EXPECT_GT(evaluation.device_peak, step.device_peak);
    // A limit between the two is passed where the job evaluates.
    const std::int64_t step_needs = std::max(step.device_peak, memory_forecast(plan, graph, StageId(0)).device_peak);
    ASSERT_LT(step_needs, evaluation.device_peak);
    EXPECT_FALSE(misfit(plan, graph, step_needs).has_value());
    plan.evaluates = true;
    EXPECT_TRUE(misfit(plan, graph, step_needs).has_value());
    EXPECT_FALSE(misfit(plan, graph, evaluation.device_peak).has_value());
}

TEST(MemoryCategory, EachKindOfBufferHasOne) {
    const auto of = [](BufferKind kind, GroupId group = {}) {
        return category_of(Buffer{.kind = kind, .group = group});
    };
    EXPECT_EQ(of(BufferKind::parameters), MemoryCategory::parameters);
    EXPECT_EQ(of(BufferKind::gradients), MemoryCategory::gradients);
    EXPECT_EQ(of(BufferKind::tied_gradient), MemoryCategory::gradients);
    EXPECT_EQ(of(BufferKind::stash), MemoryCategory::activations);
    EXPECT_EQ(of(BufferKind::deferred), MemoryCategory::deferred);
    EXPECT_EQ(of(BufferKind::checkpoint, GroupId(1)), MemoryCategory::checkpoints);
    EXPECT_EQ(of(BufferKind::prefetched, GroupId(1)), MemoryCategory::checkpoints);
    EXPECT_EQ(of(BufferKind::offloaded, GroupId(1)), MemoryCategory::offloaded);
    EXPECT_EQ(of(BufferKind::activation_in, GroupId(0)), MemoryCategory::checkpoints);  // of a chunk that is recomputed
    for (const BufferKind kind : {BufferKind::activation_in, BufferKind::activation_out, BufferKind::gradient_in,
                                  BufferKind::gradient_out, BufferKind::checkpoint_gradient, BufferKind::tied_received})
        EXPECT_EQ(of(kind), MemoryCategory::boundaries);
}

/// Three modules that take 10, 20, 30 and leave 4 each of 5 in their way; boundary tensors of 1.
ModuleGraph three_modules() {
    ModuleGraph graph;
    for (int i = 0; i < 3; ++i) {
        const PassUse pass{.scratch = 10 * (i + 1), .growth = 10 * (i + 1), .left = 5};
        Module& module = graph.modules.emplace_back();
        module.stash_bytes = 4;
        module.output_bytes = 1;
        module.passes.forward = module.passes.evaluation = pass;
    }
    return graph;
}

TEST(ActionUse, AddsUpWhatPassesLeaveForTheNext) {
    const ModuleGraph graph = three_modules();
    const Part part{.first_module = 0, .end_module = 3};
    const ActionUse kept = use_of(graph, part, ActionKind::forward, /*training=*/true, /*keeps=*/true);
    EXPECT_EQ(kept.growth, 5 + 5 + 30);
    EXPECT_EQ(kept.scratch, 30 + 1);  // beside the boundary tensor that the last but one has made
    const ActionUse gone = use_of(graph, part, ActionKind::forward, /*training=*/true, /*keeps=*/false);
    EXPECT_EQ(gone.growth, 1 + 30);
}

}  // namespace
}  // namespace smp::partition
