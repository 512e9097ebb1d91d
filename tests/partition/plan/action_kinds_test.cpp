// If these fail, a row of the table says something else than plans do.
#include "partition/plan/action_kinds.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

TEST(ActionKinds, EveryActionOfAPlanIsAsItsRowSays) {
    ParallelOptions options = testing::options_of({.stages = 2, .microbatches = 4, .active = 4, .chunks_per_stage = 2});
    options.shard_optimizer_state = true;
    options.activation_checkpointing = "each";
    options.offload_activations = true;
    options.activation_loading_horizon = 1;
    options.tensor_parallel_degree = 2;
    const Plan chunked = make_plan(testing::large_chain(9, true), options, {.pp = 2, .tp = 2, .rdp = 2}, 3);
    const Plan split =
        testing::plan_of({.stages = 3, .microbatches = 4, .schedule = PipelineSchedule::zero_bubble, .tied = true});
    std::set<ActionKind> seen;
    for (const Plan* plan : {&chunked, &split}) {
        for (const Programs* programs : {&plan->training, &plan->evaluation}) {
            for (const RankProgram& program : *programs) {
                for (const Action& action : program.actions) {
                    const ActionFacts& facts = facts_of(action.kind);
                    seen.insert(action.kind);
                    EXPECT_EQ(action.stream, facts.stream) << name_of(action);
                    EXPECT_EQ(action.peer != kNone, facts.reach == Reach::edge) << name_of(action);
                    EXPECT_EQ(action.channel == Channel::data, facts.reach == Reach::data_group) << name_of(action);
                    EXPECT_EQ(action.channel == Channel::world, facts.reach == Reach::world) << name_of(action);
                    EXPECT_EQ(name_of(action).find(facts.word), 0U);
                    EXPECT_EQ(action.tensor.rounds > 0,
                              facts.reach == Reach::tensor_group ||
                                  (plan == &chunked && (facts.computation || action.kind == ActionKind::recompute)))
                        << name_of(action);
                    if (!facts.is_posted()) {
                        EXPECT_EQ(action.bytes, 0) << name_of(action);
                    }
                }
            }
        }
    }
    EXPECT_EQ(seen.size(), kActionFacts.size());
}

TEST(ActionKinds, EachComputationIsOneAction) {
    for (const auto kind : {ComputationKind::forward, ComputationKind::backward, ComputationKind::backward_input,
                            ComputationKind::backward_weight})
        EXPECT_EQ(facts_of(action_kind(kind)).computation, kind);
    std::set<std::string_view> words;
    for (const ActionFacts& facts : kActionFacts) words.insert(facts.word);
    EXPECT_EQ(words.size(), kActionFacts.size());
}

}  // namespace
}  // namespace smp::partition
