// Changes of plans that recompute their activations in groups, and of those that offload the groups' inputs.
#include <algorithm>

#include "tests/partition/check/mutants.h"

namespace smp::partition {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Mutants;
using ::testing::Not;

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
