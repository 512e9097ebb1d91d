// Changes of what plans say of flat buffers: reductions and their buckets, sums of rows, gatherings, scratch.
#include <algorithm>

#include "partition/foresight/memory_forecast.h"
#include "partition/plan/library_sums.h"
#include "tests/partition/check/mutants.h"

namespace smp::partition {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Mutants;
using ::testing::Not;

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

TEST_F(BucketMutants, ScratchOfSomeReductionsOnly) {
    action(0, "reduce gradients chunk0 bucket1").scratch.clear();
    EXPECT_THAT(check(plan_, graph()),
                Contains(HasSubstr("(reduce gradients chunk0 bucket1) has 0 bytes for the terms of others")));
}

// Sums that a library makes: nothing lies beside the gradients, and all else is as before.
TEST_F(BucketMutants, AreSoundWithoutAnyScratch) {
    ParallelOptions options = testing::options_by_hand({2, 2}, 2);
    options.tensor_parallel_degree = 2;
    const Plan bare = make_plan_for_library_sums(graph(), options, plan_.topology.degrees, 1);
    EXPECT_THAT(check(bare, graph()), IsEmpty());
    EXPECT_TRUE(has_reduction_scratch(plan_));
    EXPECT_FALSE(has_reduction_scratch(bare));
    EXPECT_EQ(bare.transport, plan_.transport);
    const auto communication = [](const Plan& plan) {
        return memory_forecast(plan, graph(), StageId(0)).peak[static_cast<std::size_t>(MemoryCategory::communication)];
    };
    EXPECT_GT(communication(plan_), 0);
    EXPECT_EQ(communication(bare), 0);
    const auto rows = [](const Plan& plan) {
        return std::ranges::find(plan.training.front().actions, ActionKind::sum_row_gradients, &Action::kind)
            ->growth_bytes;
    };
    EXPECT_EQ(rows(plan_), 2 * rows(bare));  // two ranks: the other's beside the own
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

TEST_F(ShardedMutants, GatheringWhereNothingIsSharded) {
    plan_.shard_optimizer_state = false;
    expect_refusal("(gather parameters chunk0) does not belong into this program", "", "");
}

}  // namespace
}  // namespace smp::partition
