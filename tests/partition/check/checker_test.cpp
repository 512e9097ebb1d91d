#include "partition/check/checker.h"

#include <algorithm>
#include <functional>
#include <stdexcept>

#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Job;
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

/// Three stages, K above p, tied: every kind of action and message.
class Mutants : public ::testing::Test {
  protected:
    Plan plan_ = plan_of({.stages = 3, .microbatches = 6, .active = 4, .tied = true, .evaluation_microbatches = 6});

    RankProgram& stage(int index) { return plan_.training[StageId(index)]; }
    Table<ActionId, Action>& actions(int index) { return stage(index).actions; }
    ActionId position(int index, const std::string& name) {
        const auto& list = actions(index);
        const auto found = std::find_if(list.begin(), list.end(), [&](const Action& a) { return name_of(a) == name; });
        if (found == list.end()) throw std::logic_error("the test looks for an action that is not there: " + name);
        return ActionId(found - list.begin());
    }
    Action& action(int index, const std::string& name) { return actions(index)[position(index, name)]; }
    void drop(int index, const std::string& name) {
        actions(index).erase(actions(index).begin() + position(index, name).number());
    }
    /// Lets an event go, so that what is tested is not refused for its form already.
    void forget_event(int index, EventId event) {
        for (Action& other : actions(index)) std::erase(other.waits, event);
    }

    /// The same for the event of one action, which then has none.
    void forget_event_of(int index, const std::string& name) {
        forget_event(index, action(index, name).signals);
        action(index, name).signals = kNone;
    }

    /// One sentence names both.
    void expect_refusal(const std::string& one, const std::string& other, const std::string& why) {
        EXPECT_THAT(check(plan_),
                    Contains(AllOf(HasSubstr("training: "), HasSubstr(one), HasSubstr(other), HasSubstr(why))));
    }
};

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

/// Two chunks a stage, sharded optimizer states.
class ShardedMutants : public Mutants {
  protected:
    ShardedMutants() {
        ParallelOptions options =
            testing::options_of({.stages = 2, .microbatches = 4, .active = 4, .chunks_per_stage = 2});
        options.shard_optimizer_state = true;
        plan_ = make_plan(testing::chain(5, true), options, {.pp = 2, .tp = 1, .rdp = 2}, 2);
    }
};

TEST_F(ShardedMutants, AreSoundBeforeTheChange) {
    EXPECT_THAT(check(plan_), IsEmpty());
    EXPECT_EQ(name_of(actions(0).front()), "gather parameters chunk0");
    EXPECT_EQ(name_of(plan_.evaluation[StageId(1)].actions[ActionId(1)]), "gather parameters chunk3");
}

TEST_F(ShardedMutants, ParametersThatAreNotGathered) {
    forget_event(0, action(0, "gather parameters chunk2").signals);
    drop(0, "gather parameters chunk2");
    expect_refusal("stage 0 ends with", "(optimizer step) without gather parameters chunk2", "");
}

TEST_F(ShardedMutants, ParametersUsedBeforeTheyAreGathered) {
    const EventId gathered = action(1, "gather parameters chunk3").signals;
    std::erase(action(1, "F mb0 chunk3").waits, gathered);
    action(1, "B mb0 chunk3").waits.push_back(gathered);
    expect_refusal("(F mb0 chunk3) may use parameters chunk3", "(gather parameters chunk3)", "no event orders them");
}

TEST_F(ShardedMutants, ParametersGatheredTooLate) {
    Action gather = action(1, "gather parameters chunk1");
    forget_event(1, gather.signals);
    drop(1, "gather parameters chunk1");
    actions(1).insert(actions(1).begin() + position(1, "B mb0 chunk3").number(), gather);
    action(1, "optimizer step").waits.push_back(gather.signals);
    expect_refusal("(gather parameters chunk1) comes after", "(F mb0 chunk1)", "");
}

/// Two stages of two layers, reduced in two or three buckets each; rows are sharded over two tensor ranks.
class BucketMutants : public Mutants {
  protected:
    BucketMutants() { plan_ = plan(false); }

    static ModuleGraph graph() { return testing::large_chain(4, false); }
    static Plan plan(bool sharded) {
        ParallelOptions options = testing::options_by_hand({2, 2}, 2);
        options.tensor_parallel_degree = 2;
        options.shard_optimizer_state = sharded;
        return make_plan(graph(), options, {.pp = 2, .tp = 2, .rdp = 3}, 1, {}, Transport::messages);
    }
    BufferId scratch_of(const std::string& name) { return action(0, name).scratch.at(0); }
};

TEST_F(BucketMutants, AreSoundBeforeTheChange) {
    for (const bool sharded : {false, true}) {
        plan_ = plan(sharded);
        EXPECT_THAT(check(plan_, graph()), IsEmpty());
        EXPECT_EQ(plan_.sections[ChunkId(0)].buckets(), 3);
        EXPECT_EQ(actions(0).back().kind, ActionKind::optimizer_step);
        EXPECT_NE(scratch_of("reduce gradients chunk0 bucket0"), scratch_of("reduce gradients chunk0 bucket1"));
        EXPECT_EQ(scratch_of("reduce gradients chunk0 bucket0"), scratch_of("reduce gradients chunk0 bucket2"));
        std::int64_t bytes = 0;
        for (const Action& a : actions(0))
            if (a.kind == ActionKind::reduce_gradients) bytes += a.bytes;
        EXPECT_EQ(bytes, 4 * plan_.sections[ChunkId(0)].elements);
    }
    EXPECT_EQ(name_of(actions(0).front()), "gather parameters chunk0 bucket0");
}

TEST_F(BucketMutants, DroppedReduction) {
    forget_event_of(0, "reduce gradients chunk0 bucket2");
    drop(0, "reduce gradients chunk0 bucket2");
    expect_refusal("stage 0 ends with", "(optimizer step) without reduce gradients chunk0 bucket2", "");
}

TEST_F(BucketMutants, ReductionsInAnotherOrder) {
    std::swap(action(0, "reduce gradients chunk0 bucket0").bucket, action(0, "reduce gradients chunk0 bucket1").bucket);
    expect_refusal("(reduce gradients chunk0 bucket1) comes where reduce gradients chunk0 bucket0 is due", "", "");
}

TEST_F(BucketMutants, ReductionOfOtherBytes) {
    action(0, "reduce gradients chunk0 bucket1").bytes -= 4;
    expect_refusal("(reduce gradients chunk0 bucket1) has", "bytes of gradients chunk0, where its part has", "");
}

TEST_F(BucketMutants, ReductionThatNobodyOrdersBehindTheBackward) {
    // Those behind the first one start after it.
    const EventId summed = action(0, "sum row gradients chunk0").signals;
    action(0, "reduce gradients chunk0 bucket0").waits.clear();
    expect_refusal("(reduce gradients chunk0 bucket0) may write gradients chunk0",
                   "(sum row gradients chunk0) has ended", "no event orders them");
    action(0, "reduce gradients chunk0 bucket1").waits.clear();
    action(0, "reduce gradients chunk0 bucket2").waits.clear();
    action(0, "optimizer step").waits.push_back(summed);
    expect_refusal("(reduce gradients chunk0 bucket2) may write gradients chunk0",
                   "(sum row gradients chunk0) has ended", "no event orders them");
}

TEST_F(BucketMutants, ScratchOfTwoReductionsThatMeet) {
    action(0, "reduce gradients chunk0 bucket1").scratch = action(0, "reduce gradients chunk0 bucket0").scratch;
    expect_refusal("(reduce gradients chunk0 bucket1) may use reduction_scratch",
                   "(reduce gradients chunk0 bucket0) has ended", "no event orders them");
}

TEST_F(BucketMutants, BucketOfAComputation) {
    action(0, "F mb0 chunk0").bucket = BucketId(0);
    expect_refusal("(F mb0 chunk0 bucket0) has a bucket", "", "");
}

TEST_F(BucketMutants, RowsThatAreNotSummed) {
    forget_event_of(0, "sum row gradients chunk0");
    drop(0, "sum row gradients chunk0");
    EXPECT_THAT(check(plan_, graph()), Not(IsEmpty()));
    // However the reductions are ordered: only the model says that there are rows to sum.
    plan_ = plan(false);
    const ActionId sum = position(0, "sum row gradients chunk0");
    const EventId made = actions(0)[sum].waits.at(0), summed = actions(0)[sum].signals;
    for (Action& a : actions(0)) std::replace(a.waits.begin(), a.waits.end(), summed, made);
    actions(0)[sum] = {.kind = ActionKind::join, .signals = summed};
    actions(0).back().waits.push_back(summed);
    EXPECT_THAT(check(plan_), IsEmpty());
    EXPECT_THAT(check(plan_, graph()), Contains(HasSubstr("the row gradients of chunk 0 are summed in 0 bytes")));
}

TEST_F(BucketMutants, ExchangeThatIsNotTheModels) {
    plan_.evaluation[StageId(1)].actions[position(1, "receive activations mb0 chunk1 <- stage 0") + 1].tensor.bytes +=
        1;
    EXPECT_THAT(check(plan_), IsEmpty());
    EXPECT_THAT(check(plan_, graph()), Contains(AllOf(HasSubstr("evaluation: stage 1"), HasSubstr("its modules"))));
    plan_ = plan(false);
    action(0, "B mb1 chunk0").tensor = {};
    EXPECT_THAT(check(plan_, graph()), Contains(HasSubstr("(B mb1 chunk0) exchanges 0 bytes in 0 rounds")));
    action(0, "B mb1 chunk0").tensor = {.rounds = 1, .bytes = std::int64_t{1} << 60};
    EXPECT_THAT(check(plan_), Contains(HasSubstr("exchanges 1152921504606846976 bytes in 1 rounds by B mb1 chunk0")));
}

TEST_F(BucketMutants, ScratchThatIsTooSmallForTheTermsOfOthers) {
    stage(0).buffers[scratch_of("reduce gradients chunk0 bucket1")].bytes -= 1;
    EXPECT_THAT(check(plan_), IsEmpty());
    EXPECT_THAT(check(plan_, graph()),
                Contains(AllOf(HasSubstr("(reduce gradients chunk0 bucket1) has"), HasSubstr("which take"))));
}

TEST_F(BucketMutants, RowsSummedBehindTheirReduction) {
    // What waits for the sum waits for the backward, and the update for the sum.
    const ActionId sum = position(0, "sum row gradients chunk0");
    Action late = actions(0)[sum];
    const EventId made = late.waits.at(0);
    for (Action& a : actions(0)) std::replace(a.waits.begin(), a.waits.end(), late.signals, made);
    actions(0).erase(actions(0).begin() + sum.number());
    late.waits = {action(0, "reduce gradients chunk0 bucket0").signals};
    actions(0).back().waits.push_back(late.signals);
    actions(0).insert(actions(0).end() - 1, late);
    expect_refusal("(sum row gradients chunk0) comes after", "(reduce gradients chunk0 bucket0)", "");
}

TEST_F(BucketMutants, SectionsThatAreNotTheModels) {
    const auto refused = [&](const std::string& sentence) {
        EXPECT_THAT(check(plan_, graph()), Contains(HasSubstr(sentence)));
        plan_ = plan(false);
    };
    plan_.sections[ChunkId(0)].elements += 64;
    refused("gradients chunk0 has");
    plan_.sections[ChunkId(1)].bucket_elements = 1;
    refused("the section of chunk 1 has");
    plan_.sections[ChunkId(1)].bucket_elements = -1;
    refused("the section of chunk 1 has");
    plan_.sections.pop_back();
    refused("1 sections of flat buffers for 2 chunks");
    // Sound by themselves, but another model's.
    ModuleGraph larger = graph();
    larger.modules[1].parameter_count += 64 * 6;
    EXPECT_THAT(check(plan_, larger), Contains(HasSubstr("the section of chunk 0 has")));
    ModuleGraph wider = graph();  // of which shards begin at other edges
    wider.precision = Precision::bf16;
    plan_.sections[ChunkId(0)].bucket_elements = plan_.sections[ChunkId(1)].bucket_elements = 0;
    EXPECT_THAT(check(plan_, wider), Not(IsEmpty()));
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

/// Two groups on the first stage, three on the last.
class CheckpointedMutants : public Mutants {
  protected:
    CheckpointedMutants() {
        ParallelOptions options = testing::options_by_hand({2, 2}, 3);
        options.activation_checkpointing = "each";
        plan_ = make_plan(testing::chain(4, true), options, {.pp = 2}, 1);
    }
};

TEST_F(CheckpointedMutants, AreSoundBeforeTheChange) {
    EXPECT_THAT(check(plan_), IsEmpty());
    EXPECT_EQ(describe(stage(1), action(1, "R mb0 chunk1 group1")),
              "R mb0 chunk1 group1; reads parameters chunk1, checkpoint mb0 chunk1 group1; writes stash mb0 chunk1 "
              "group1; takes "
              "78 bytes more at most");
}

TEST_F(CheckpointedMutants, DroppedRecomputation) {
    drop(1, "R mb1 chunk1 group2");
    expect_refusal("(B mb1 chunk1 group2) has no R mb1 chunk1 group2", "", "");
}

TEST_F(CheckpointedMutants, RecomputationBehindItsBackward) {
    std::swap(action(1, "R mb1 chunk1 group0"), action(1, "B mb1 chunk1 group0"));
    expect_refusal("(R mb1 chunk1 group0) comes after", "(B mb1 chunk1 group0)", "");
}

TEST_F(CheckpointedMutants, RecomputationRightBehindTheForward) {
    auto& list = actions(1);
    const auto from = list.begin() + position(1, "R mb0 chunk1 group1").number();
    const auto to = list.begin() + position(1, "F mb0 chunk1 group2").number();
    std::rotate(to, from, from + 1);
    expect_refusal("(B mb0 chunk1 group1) does not follow its recomputation but", "(B mb0 chunk1 group2)", "");
}

TEST_F(Mutants, ReceiveForNoChunk) {
    action(1, "receive activations mb0 chunk1 <- stage 0").chunk = kNone;
    expect_refusal("(receive activations mb0 <- stage 0) is of no chunk of this stage", "", "");
}

TEST_F(CheckpointedMutants, GroupThatIsNotThere) {
    action(0, "F mb2 chunk0 group1").group = GroupId(2);
    expect_refusal("(F mb2 chunk0 group2) is not among this stage's steps", "", "");
}

TEST_F(CheckpointedMutants, CheckpointFreedByTheForward) {
    auto& frees = action(1, "B mb0 chunk1 group1").frees;
    auto& forward = action(1, "F mb0 chunk1 group1");
    const BufferId checkpoint = forward.reads.back();
    std::erase(frees, checkpoint);
    forward.frees.push_back(checkpoint);
    expect_refusal("(B mb0 chunk1 group1) may still use checkpoint mb0 chunk1 group1", "(F mb0 chunk1 group1) frees it",
                   "");
}

TEST_F(Mutants, SumThatLeavesACopyOut) {
    action(0, "sum tied gradients").reads.pop_back();
    expect_refusal("(sum tied gradients) frees tied_received chunk0 shared0 module5", "without adding it", "");
}

/// One layer a group, one task ahead: on stage 1, whose forwards run ahead of its backwards, the input of a group
/// leaves.
class OffloadedMutants : public Mutants {
  protected:
    OffloadedMutants() {
        ParallelOptions options = testing::options_by_hand({2, 2}, 3);
        options.pipeline = PipelineSchedule::simple;
        options.activation_checkpointing = "each";
        options.offload_activations = true;
        options.activation_loading_horizon = 2;
        plan_ = make_plan(testing::chain(4, true), options, {.pp = 2}, 1);
    }
};

TEST_F(OffloadedMutants, AreSoundBeforeTheChange) {
    EXPECT_THAT(check(plan_), IsEmpty());
    EXPECT_THAT(describe(stage(1), action(1, "offload mb0 chunk1 group1")),
                AllOf(HasSubstr("reads checkpoint mb0 chunk1 group1; writes offloaded mb0 chunk1 group1"),
                      HasSubstr("frees checkpoint mb0 chunk1 group1")));
    EXPECT_THAT(describe(stage(1), action(1, "prefetch mb0 chunk1 group0")),
                HasSubstr("reads offloaded mb0 chunk1 group0; writes prefetched mb0 chunk1 group0"));
}

TEST_F(OffloadedMutants, DroppedPrefetch) {
    forget_event(1, action(1, "prefetch mb0 chunk1 group1").signals);
    drop(1, "prefetch mb0 chunk1 group1");
    forget_event_of(1, "offload mb0 chunk1 group1");
    EXPECT_THAT(check(plan_), Contains(HasSubstr("no action waits for stage 1")));
}

TEST_F(OffloadedMutants, DroppedOffload) {
    forget_event(1, action(1, "offload mb0 chunk1 group1").signals);
    drop(1, "offload mb0 chunk1 group1");
    forget_event_of(1, "F mb0 chunk1 group1");
    expect_refusal("(R mb0 chunk1 group1) does not read checkpoint mb0 chunk1 group1", "", "");
}

TEST_F(OffloadedMutants, BackwardThatTakesWhatHasLeft) {
    Action& again = action(1, "R mb0 chunk1 group1");
    again.reads.back() = action(1, "offload mb0 chunk1 group1").reads.front();
    expect_refusal("(R mb0 chunk1 group1) does not read prefetched mb0 chunk1 group1", "", "");
}

TEST_F(OffloadedMutants, PrefetchAheadOfTheHorizon) {
    auto& list = actions(1);
    const auto from = list.begin() + position(1, "prefetch mb1 chunk1 group1").number();
    const auto to = list.begin() + position(1, "prefetch mb0 chunk1 group0").number();
    Action moved = *from;
    list.erase(from);
    forget_event_of(1, "B mb0 chunk1 group1");  // the compute before its old place
    moved.waits = {action(1, "offload mb1 chunk1 group1").signals};
    list.insert(to, moved);
    expect_refusal("(R mb1 chunk1 group1) uses what", "(prefetch mb1 chunk1 group1) fetched",
                   "tasks ahead, where the horizon is 2");
}

TEST_F(OffloadedMutants, RecomputationThatDoesNotWaitForItsInput) {
    const EventId event = action(1, "prefetch mb1 chunk1 group1").signals;
    std::erase(action(1, "R mb1 chunk1 group1").waits, event);
    action(1, "optimizer step").waits.push_back(event);
    expect_refusal("(R mb1 chunk1 group1) may use prefetched mb1 chunk1 group1", "(prefetch mb1 chunk1 group1)",
                   "no event orders them");
}

TEST_F(OffloadedMutants, OffloadThatDoesNotWaitForTheForward) {
    forget_event_of(1, "F mb1 chunk1 group1");
    expect_refusal("(F mb1 chunk1 group1)", "(offload mb1 chunk1 group1)", "");
}

TEST_F(OffloadedMutants, OtherBytes) {
    action(1, "offload mb1 chunk1 group1").bytes += 4;
    expect_refusal("(offload mb1 chunk1 group1) moves", "bytes, where", "");
}

TEST_F(OffloadedMutants, OneBufferTwice) {
    auto& reads = action(1, "offload mb1 chunk1 group1").reads;
    reads.push_back(reads.front());
    expect_refusal("(offload mb1 chunk1 group1) lists buffer", "twice", "");
}

TEST_F(OffloadedMutants, CopiesOnTheComputeStream) {
    action(1, "offload mb1 chunk1 group1").stream = Stream::compute;
    expect_refusal("(offload mb1 chunk1 group1) is on the wrong stream", "", "");
}

TEST_F(OffloadedMutants, OffloadingWhereNothingIs) {
    plan_.loading_horizon = 0;
    expect_refusal("(offload mb0 chunk1 group0) is not among this stage's steps", "", "");
}

TEST_F(ShardedMutants, GatheringWhereNothingIsSharded) {
    plan_.shard_optimizer_state = false;
    expect_refusal("(gather parameters chunk0) does not belong into this program", "", "");
}

/// Removes a wait, but for two that order nothing new: a receive's wait only keeps memory bounded, and what an earlier
/// action of the stream has waited for, later ones need not.
bool remove_needed_wait(RankProgram& program, ActionId position) {
    Action& action = program.actions[position];
    if (action.kind == ActionKind::receive || action.waits.empty()) return false;
    const EventId event = action.waits.back();
    for (const ActionId i : first_ids<ActionId>(position.number())) {
        const Action& earlier = program.actions[i];
        if (earlier.stream == action.stream && std::count(earlier.waits.begin(), earlier.waits.end(), event) > 0)
            return false;
    }
    action.waits.pop_back();
    return true;
}

// One change at any place of any program: none of these can be harmless.
TEST_F(Mutants, EverySingleChangeOfTheseKindsIsRefused) {
    using Change = std::function<bool(RankProgram&, ActionId)>;  // false: nothing to change there
    const std::vector<std::pair<const char*, Change>> changes = {
        {"drop", [](RankProgram& p, ActionId i) { return p.actions.erase(p.actions.begin() + i.number()), true; }},
        {"repeat",
         [](RankProgram& p, ActionId i) {
             return p.actions.insert(p.actions.begin() + i.number(), Action(p.actions[i])),
                    p.actions[i].kind != ActionKind::join;
         }},
        {"next microbatch",
         [](RankProgram& p, ActionId i) {
             return p.actions[i].microbatch != kNone && ++p.actions[i].microbatch != kNone;
         }},
        {"other bytes",
         [](RankProgram& p, ActionId i) {
             return p.actions[i].stream == Stream::communication && ++p.actions[i].bytes > 0;
         }},
        {"other peer",
         [](RankProgram& p, ActionId i) {
             return p.actions[i].peer != kNone &&
                    (p.actions[i].peer = StageId((p.actions[i].peer.number() + 1) % 3)) != kNone;
         }},
        {"other stream",
         [](RankProgram& p, ActionId i) {
             Stream& stream = p.actions[i].stream;
             stream = stream == Stream::compute ? Stream::communication : Stream::compute;
             return true;
         }},
        {"no free", [](RankProgram& p,
                       ActionId i) { return !p.actions[i].frees.empty() && (p.actions[i].frees.pop_back(), true); }},
        {"no consumption",
         [](RankProgram& p, ActionId i) {
             return !p.actions[i].consumes.empty() && (p.actions[i].consumes.pop_back(), true);
         }},
        {"less room",
         [](RankProgram& p, ActionId i) { return p.actions[i].growth_bytes > 0 && --p.actions[i].growth_bytes >= 0; }},
        {"no write", [](RankProgram& p,
                        ActionId i) { return !p.actions[i].writes.empty() && (p.actions[i].writes.pop_back(), true); }},
        {"no wait", remove_needed_wait},
        {"no signal",
         [](RankProgram& p, ActionId i) {
             return p.actions[i].signals != kNone && (p.actions[i].signals = kNone) == kNone;
         }},
    };
    int mutants = 0;
    for (const auto member : {&Plan::training, &Plan::evaluation}) {
        for (const auto& [name, change] : changes) {
            for (const StageId s : plan_.training.ids()) {
                for (const ActionId i : (plan_.*member)[s].actions.ids()) {
                    Plan mutant = plan_;
                    const std::string victim = name_of((mutant.*member)[s].actions[i]);
                    if (!change((mutant.*member)[s], i)) continue;
                    ++mutants;
                    EXPECT_THAT(check(mutant), Not(IsEmpty())) << name << ": " << victim << " on stage " << s;
                }
            }
        }
    }
    EXPECT_GT(mutants, 800);
}

}  // namespace
}  // namespace smp::partition
