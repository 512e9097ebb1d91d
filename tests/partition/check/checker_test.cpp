#include "partition/check/checker.h"

#include <algorithm>
#include <functional>
#include <stdexcept>

#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include "tests/partition/check/mutants.h"

namespace smp::partition {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Job;
using testing::Mutants;
using ::testing::Not;
using testing::plan_of;

TEST(Checker, AcceptsEveryBuiltPlan) {
    int plans = 0;
    for (int stages = 1; stages <= 6; ++stages) {
        for (int microbatches = 1; microbatches <= 12; ++microbatches) {
            for (const bool tied : {false, true}) {
                Job job{.stages = stages,
                        .microbatches = microbatches,
                        .tied = tied,
                        .evaluation_microbatches = microbatches};
                job.schedule = PipelineSchedule::simple;
                ASSERT_THAT(check(plan_of(job)), IsEmpty());
                for (int active = 1; active <= microbatches; ++active) {
                    job.active = active;
                    for (const auto schedule : {PipelineSchedule::interleaved, PipelineSchedule::zero_bubble}) {
                        job.schedule = schedule;
                        ASSERT_THAT(check(plan_of(job)), IsEmpty())
                            << stages << " stages, " << microbatches << " microbatches, K " << active;
                        ++plans;
                    }
                }
                job.schedule = PipelineSchedule::interleaved;
                for (job.chunks_per_stage = 2; job.chunks_per_stage <= 3; ++job.chunks_per_stage) {
                    for (int active = std::min(microbatches, 2 * stages); active <= microbatches; ++active) {
                        job.active = active;
                        ASSERT_THAT(check(plan_of(job)), IsEmpty())
                            << stages << " x " << job.chunks_per_stage << " chunks, " << microbatches
                            << " microbatches, K " << active;
                        ++plans;
                    }
                }
            }
        }
    }
    EXPECT_GT(plans, 6 * 2 * 78 * 2);
}

TEST(Checker, AcceptsSeveralCopiesOnOneStage) {
    ModuleGraph graph = testing::chain(4, false);
    graph.shared.push_back({.name = "three", .parameter_count = 7, .modules = {0, 1, 5}});
    graph.shared.push_back({.name = "local", .parameter_count = 9, .modules = {0, 1}});
    EXPECT_THAT(check(make_plan(graph, testing::options_by_hand({2, 1, 1}, 3), {.pp = 3}, 2)), IsEmpty());
}

TEST_F(Mutants, DroppedSend) {
    forget_event(0, action(0, "send activations mb2 chunk0 -> stage 1").signals);
    drop(0, "send activations mb2 chunk0 -> stage 1");
    expect_refusal("stage 0 action", "(send activations mb3 chunk0 -> stage 1) meets stage 1 action",
                   "(receive activations mb2 chunk1 <- stage 0), which expects another microbatch");
}

TEST_F(Mutants, DroppedLastSend) {
    forget_event(0, action(0, "send activations mb5 chunk0 -> stage 1").signals);
    drop(0, "send activations mb5 chunk0 -> stage 1");
    expect_refusal("(receive activations mb5 chunk1 <- stage 0) meets no send", "the last one is stage 0",
                   "(send activations mb4 chunk0 -> stage 1)");
}

TEST_F(Mutants, SwappedReceives) {
    std::swap(action(1, "receive gradients mb1 chunk1 <- stage 2"),
              action(1, "receive gradients mb2 chunk1 <- stage 2"));
    // Their own waits travel with them, so only the second is out of order.
    EXPECT_THAT(check(plan_), Not(IsEmpty()));
    Action& first = action(1, "receive gradients mb2 chunk1 <- stage 2");
    Action& second = action(1, "receive gradients mb1 chunk1 <- stage 2");
    std::swap(first.waits, second.waits);
    expect_refusal("(send gradients mb1 chunk2 -> stage 1) meets stage 1", "(receive gradients mb2 chunk1 <- stage 2)",
                   "another microbatch");
}

TEST_F(Mutants, OtherBytes) {
    Action& receive = action(1, "receive activations mb0 chunk1 <- stage 0");
    receive.bytes += 4;
    stage(1).buffers[receive.writes[0]].bytes += 4;
    expect_refusal("(send activations mb0 chunk0 -> stage 1)", "(receive activations mb0 chunk1 <- stage 0)",
                   "bytes instead of");
}

TEST_F(Mutants, ReceiveOnTheOtherChannel) {
    action(0, "receive gradients mb0 chunk0 <- stage 1").channel = Channel::activations;
    expect_refusal("stage 0 action", "receive activations mb0 chunk0 <- stage 1", "moves gradient_in mb0 chunk0");
}

TEST_F(Mutants, MissingFree) {
    action(1, "B mb2 chunk1").frees.pop_back();
    expect_refusal("written by stage 1", "(B mb2 chunk1) is the last to use it", "never freed");
}

TEST_F(Mutants, EarlyFree) {
    Action& backward = action(1, "B mb2 chunk1");
    const BufferId input = backward.frees[0];
    std::erase(backward.frees, input);
    action(1, "F mb2 chunk1").frees.push_back(input);
    expect_refusal("(B mb2 chunk1) may still use activation_in mb2 chunk1", "(F mb2 chunk1) frees it", "");
}

TEST_F(Mutants, StashThatIsOnlyRead) {
    Action& backward = action(1, "B mb2 chunk1");
    backward.reads.push_back(backward.consumes[0]);
    backward.frees.push_back(backward.consumes[0]);
    backward.consumes.erase(backward.consumes.begin());
    expect_refusal("(B mb2 chunk1) does not consume stash mb2 chunk1", "", "");
}

TEST_F(Mutants, LessRoomThanWhatStays) {
    action(1, "F mb2 chunk1").growth_bytes = 3;
    expect_refusal("(F mb2 chunk1) takes 3 bytes more at most, but leaves", "", "");
}

TEST_F(Mutants, AnothersScratch) {
    const BufferId scratch = stage(1).buffers.add({.kind = BufferKind::scratch, .chunk = ChunkId(0), .bytes = 8});
    action(1, "F mb2 chunk1").scratch = {scratch};
    expect_refusal("(F mb2 chunk1) must not use scratch chunk0 as scratch", "", "");
}

TEST_F(Mutants, ScratchThatIsKept) {
    const BufferId scratch = stage(1).buffers.add({.kind = BufferKind::scratch, .chunk = ChunkId(1), .bytes = 8});
    action(1, "F mb2 chunk1").scratch = {scratch};
    action(1, "B mb2 chunk1").frees.push_back(scratch);
    expect_refusal("(B mb2 chunk1) uses scratch chunk1, which is scratch elsewhere", "", "");
}

TEST_F(Mutants, DoubleFree) {
    Action& forward = action(0, "F mb3 chunk0");
    const BufferId sent = forward.writes.back();
    action(0, "B mb3 chunk0").frees.push_back(sent);
    expect_refusal("(B mb3 chunk0) frees activation_out mb3 chunk0", "after stage 0 action",
                   "(send activations mb3 chunk0 -> stage 1)");
}

TEST_F(Mutants, DoubleWrite) {
    action(2, "B mb5 chunk2").writes.push_back(action(2, "receive tied chunk2 <- stage 0").writes[0]);
    EXPECT_THAT(check(plan_), Not(IsEmpty()));
    action(2, "B mb5 chunk2").writes.pop_back();

    // The same buffer received into twice.
    stage(1).buffers[action(1, "receive activations mb1 chunk1 <- stage 0").writes[0]] =
        stage(1).buffers[action(1, "receive activations mb0 chunk1 <- stage 0").writes[0]];
    EXPECT_THAT(check(plan_), Not(IsEmpty()));
}

TEST_F(Mutants, WriteAgainAfterTheWrite) {
    RankProgram& program = stage(2);
    const BufferId received = action(2, "receive tied chunk2 <- stage 0").writes[0];
    action(2, "sum tied gradients").writes.push_back(received);
    ASSERT_EQ(program.buffers[received].kind, BufferKind::tied_received);
    expect_refusal("(sum tied gradients) writes tied_received", "again after stage 2",
                   "(receive tied chunk2 <- stage 0)");
}

TEST_F(Mutants, ExtraActiveMicrobatch) {
    plan_.active_microbatches = 3;
    expect_refusal("(F mb3 chunk0) makes 4 microbatches active on stage 0", "(F mb2 chunk0)", "where at most 3 may be");
}

TEST_F(Mutants, ForwardEarlierThanTheBoundAllows) {
    auto& list = actions(2);  // F0 B0 F1 …: F1 before B0
    const ActionId backward = position(2, "B mb0 chunk2"), forward = position(2, "F mb1 chunk2");
    std::rotate(list.begin() + backward.number(), list.begin() + forward.number(), list.begin() + forward.number() + 1);
    expect_refusal("(F mb1 chunk2) makes 2 microbatches in flight on stage 2", "(F mb0 chunk2)",
                   "where at most 1 may be");
}

TEST_F(Mutants, WeightGradientsOutOfOrder) {
    Action& first = action(2, "B mb1 chunk2");
    Action& second = action(2, "B mb2 chunk2");
    std::swap(first, second);
    std::swap(first.waits, second.waits);  // the events stay where they were
    std::swap(first.signals, second.signals);
    expect_refusal("(B mb1 chunk2) adds weight gradients after", "(B mb2 chunk2)", "ascending order");
}

TEST_F(Mutants, BackwardBeforeItsForward) {
    std::swap(action(2, "F mb4 chunk2"), action(2, "B mb4 chunk2"));
    expect_refusal("(F mb4 chunk2) comes after", "(B mb4 chunk2)", "");
}

TEST_F(Mutants, RepeatedAndForgottenMicrobatch) {
    Action& forward = action(0, "F mb3 chunk0");
    forward.microbatch = MicrobatchId(2);
    expect_refusal("(F mb2 chunk0) repeats", "(F mb2 chunk0)", "");
    expect_refusal("(B mb3 chunk0) has no F mb3 chunk0", "", "");
}

TEST_F(Mutants, BackwardAfterTheReduction) {
    auto& list = actions(0);
    const ActionId backward = position(0, "B mb5 chunk0"), reduce = position(0, "reduce gradients chunk0");
    std::rotate(list.begin() + backward.number(), list.begin() + backward.number() + 1,
                list.begin() + reduce.number() + 1);
    EXPECT_THAT(check(plan_), Not(IsEmpty()));  // the tied send waits for a backward behind it
    forget_event(0, list[position(0, "B mb5 chunk0")].signals);
    list[position(0, "B mb5 chunk0")].signals = kNone;
    expect_refusal("(B mb5 chunk0) comes after", "(sum tied gradients)", "");
}

TEST_F(Mutants, CopiesAddedInAnotherOrder) {
    auto& reads = action(0, "sum tied gradients").reads;
    std::swap(reads[reads.size() - 1], reads[reads.size() - 2]);
    EXPECT_THAT(check(plan_), Contains(AllOf(HasSubstr("(sum tied gradients) adds tied_gradient chunk0"),
                                             HasSubstr("after tied_received chunk0"))));
}

TEST_F(Mutants, TiedGradientTakenTooEarly) {
    const BufferId own = action(0, "send tied chunk0 -> stage 2").reads[0];
    std::erase(action(0, "B mb5 chunk0").writes, own);
    action(0, "B mb4 chunk0").writes.push_back(own);
    EXPECT_THAT(
        check(plan_),
        Contains(HasSubstr(
            "(B mb4 chunk0) must not write tied_gradient chunk0 shared0 module0: it is not the last to add to it")));
}

TEST_F(Mutants, RemovedWaits) {
    // Other waiters stay, so the form is right; the order is not.
    Action& forward = action(1, "F mb3 chunk1");
    const EventId received = action(1, "receive activations mb3 chunk1 <- stage 0").signals;
    std::erase(forward.waits, received);
    action(1, "B mb3 chunk1").waits.push_back(received);
    expect_refusal("(F mb3 chunk1) may use activation_in mb3 chunk1", "(receive activations mb3 chunk1 <- stage 0)",
                   "no event orders them");
}

TEST_F(Mutants, SendDoesNotWaitForItsTensor) {
    Action& send = action(1, "send gradients mb1 chunk1 -> stage 0");
    ASSERT_EQ(send.waits.size(), 1u);
    // As if it only waited for the step before.
    send.waits[0] = action(1, "F mb0 chunk1").signals;
    ASSERT_NE(send.waits[0], kNone);
    for (Action& other : actions(1)) {
        if (other.kind == ActionKind::receive && other.waits == std::vector<EventId>{action(1, "B mb1 chunk1").signals})
            other.waits = send.waits;
    }
    if (std::none_of(actions(1).begin(), actions(1).end(), [&](const Action& a) {
            return std::count(a.waits.begin(), a.waits.end(), action(1, "B mb1 chunk1").signals) > 0;
        })) {
        action(1, "reduce gradients chunk1").waits.push_back(action(1, "B mb1 chunk1").signals);
    }
    expect_refusal("(send gradients mb1 chunk1 -> stage 0) may use gradient_out mb1 chunk1", "(B mb1 chunk1) has ended",
                   "no event orders them");
}

TEST_F(Mutants, WaitsInACircle) {
    // Both copies of the tied weight wait until their own gradient has left before they post the receive.
    for (const int index : {0, 2}) {
        const std::string peer = index == 0 ? "2" : "0", own = std::to_string(index);
        auto& list = actions(index);
        Action receive = action(index, "receive tied chunk" + own + " <- stage " + peer);
        drop(index, name_of(receive));
        const ActionId send = position(index, "send tied chunk" + own + " -> stage " + peer);
        receive.waits.push_back(list[send].signals);
        list.insert(list.begin() + send.number() + 1, receive);
    }
    expect_refusal("(receive tied chunk0 <- stage 2) waits for ever for action", "stage 2 action",
                   "(receive tied chunk2 <- stage 0) is never posted");
}

TEST_F(Mutants, EventsThatLeadNowhere) {
    Action& step = action(0, "optimizer step");
    step.signals = EventId(stage(0).events++);
    EXPECT_THAT(check(plan_), Contains(HasSubstr("no action waits for stage 0")));
}

TEST_F(Mutants, CollectivesInAnotherOrderOrMissing) {
    drop(1, "optimizer step");
    EXPECT_THAT(check(plan_), Not(IsEmpty()));
}

TEST_F(Mutants, ForwardOnlyProgramsAreCheckedToo) {
    plan_.evaluation[StageId(1)].actions.pop_back();
    EXPECT_THAT(check(plan_), Contains(HasSubstr("evaluation: no action waits for stage 1")));
    plan_ = plan_of({});
    plan_.sampling[StageId(0)].actions.pop_back();
    EXPECT_THAT(check(plan_), Contains(HasSubstr("sampling: stage 0 has 0 actions, where each of 1")));
}

// What a stage has received and sent and not used bounds how far it runs ahead.
TEST_F(Mutants, EvaluationThatRunsFurtherAhead) {
    plan_ = plan_of({.stages = 3, .evaluation_microbatches = 12});
    EXPECT_THAT(check(plan_), IsEmpty());
    plan_.evaluation_boundaries = 3;
    EXPECT_THAT(check(plan_), Contains(AllOf(HasSubstr("evaluation: "), HasSubstr("where 3 are the most"))));
    plan_.evaluation_boundaries = 0;
    EXPECT_THAT(check(plan_), Contains(HasSubstr("0 boundary tensors of an evaluation")));
}

TEST_F(Mutants, ReceiveForNoChunk) {
    action(1, "receive activations mb0 chunk1 <- stage 0").chunk = kNone;
    expect_refusal("(receive activations mb0 <- stage 0) is of no chunk of this stage", "", "");
}

TEST_F(Mutants, SumThatLeavesACopyOut) {
    action(0, "sum tied gradients").reads.pop_back();
    expect_refusal("(sum tied gradients) frees tied_received chunk0 shared0 module5", "without adding it", "");
}

}  // namespace
}  // namespace smp::partition
