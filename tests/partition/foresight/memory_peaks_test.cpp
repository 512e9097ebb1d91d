// The most that a program holds, from its order alone.
#include "partition/foresight/memory_peaks.h"

#include <gtest/gtest.h>

#include "partition/plan/action_memory.h"

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
        const PassMemory pass{.scratch = 10 * (i + 1), .growth = 10 * (i + 1), .left = 5};
        Module& module = graph.modules.emplace_back();
        module.stash_bytes = 4;
        module.output_bytes = 1;
        module.memory.forward = module.memory.evaluation = pass;
    }
    return graph;
}

TEST(ActionMemory, AddsUpWhatPassesLeaveForTheNext) {
    const ModuleGraph graph = three_modules();
    const Part part{.first_module = 0, .end_module = 3};
    const ActionMemory kept = memory_of(graph, part, ActionKind::forward, /*training=*/true, /*keeps=*/true);
    EXPECT_EQ(kept.growth, 5 + 5 + 30);
    EXPECT_EQ(kept.scratch, 30 + 1);  // beside the boundary tensor that the last but one has made
    const ActionMemory gone = memory_of(graph, part, ActionKind::forward, /*training=*/true, /*keeps=*/false);
    EXPECT_EQ(gone.growth, 1 + 30);
}

}  // namespace
}  // namespace smp::partition
