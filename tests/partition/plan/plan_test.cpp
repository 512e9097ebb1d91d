#include "partition/plan/plan.h"

#include <functional>
#include <set>

#include <gmock/gmock.h>

#include "partition/check/checker.h"
#include "partition/job/problem.h"
#include "tests/partition/every_value.h"
#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Job;
using testing::plan_of;

const Job kJob{.stages = 2, .microbatches = 3, .active = 3, .tied = true, .evaluation_microbatches = 2};

TEST(Plan, EqualInputsGiveEqualHashes) { EXPECT_EQ(hash_of(plan_of(kJob)), hash_of(plan_of(kJob))); }

// The number itself: a change of it is a change of what plans say, or of how they are hashed.
TEST(Plan, HashIsFnv1aOverTheCanonicalText) {
    Plan empty;
    empty.held_bytes = {7, -1};
    // Fields of their usual values are left out, but for stated ones.
    const std::string text =
        "topology=degrees=pipeline=1;tensor=1;reduced_data=1;}order=data;pipeline;tensor;}chunks=0:sections=0:"
        "microbatches=1;"
        "active_microbatches=1;schedule=interleaved;evaluation_microbatches=1;held_bytes=2:7;-1;training=0:evaluation="
        "0:"
        "sampling=0:}";
    std::uint64_t expected = 14695981039346656037ULL;
    for (const char c : text) expected = (expected ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    EXPECT_EQ(hash_of(empty), expected);
}

TEST(Plan, HashChangesWithEveryValueInIt) {
    Plan plan = plan_of(kJob);
    ModuleGraph graph = testing::chain(3, /*tied=*/true);
    std::set<std::uint64_t> hashes = {hash_of(plan), hash_of(graph)};
    std::size_t changes = 2;
    const auto change_each = [&](auto& whole) {
        testing::for_each_value(whole, [&](const std::string& path, auto& value) {
            const auto before = value;
            testing::change(value);
            EXPECT_TRUE(hashes.insert(hash_of(whole)).second) << path;
            ++changes;
            value = before;
        });
    };
    change_each(plan);
    change_each(graph);
    EXPECT_EQ(hash_of(plan), hash_of(plan_of(kJob)));
    EXPECT_GT(changes, 500U);
}

TEST(Plan, HashChangesWithEveryList) {
    const Plan plan = plan_of(kJob);
    // An action that reads what it does not free.
    const auto action = [](Plan& p) -> Action& {
        for (Action& a : p.training[StageId(0)].actions) {
            if (!a.waits.empty() && !a.frees.empty() && a.reads.size() > 1) return a;
        }
        throw std::logic_error("no such action");
    };
    const std::vector<std::function<void(Plan&)>> changes = {
        [](Plan& p) { std::swap(p.topology.order[0], p.topology.order[1]); },
        [](Plan& p) { std::swap(p.topology.order[1], p.topology.order[2]); },
        [](Plan& p) { p.chunks.pop_back(); },
        [](Plan& p) { p.chunks[ChunkId(0)].groups.push_back(0); },
        [](Plan& p) { p.held_bytes.push_back(1); },
        [](Plan& p) { p.training.pop_back(); },
        [](Plan& p) { p.evaluation.pop_back(); },
        [](Plan& p) { p.sampling.pop_back(); },
        [](Plan& p) { p.training[StageId(0)].buffers.pop_back(); },
        [](Plan& p) { p.training[StageId(0)].actions.pop_back(); },
        [&](Plan& p) { action(p).writes.push_back(BufferId(0)); },
        [&](Plan& p) { action(p).waits.pop_back(); },
        [&](Plan& p) { action(p).consumes.push_back(BufferId(0)); },
        [&](Plan& p) { action(p).scratch.push_back(BufferId(0)); },
        [&](Plan& p) { action(p).frees.swap(action(p).writes); },  // same numbers in another list
        [&](Plan& p) { std::swap(action(p).reads.front(), action(p).reads.back()); },
    };
    std::set<std::uint64_t> hashes = {hash_of(plan)};
    for (const auto& change : changes) {
        Plan changed = plan;
        change(changed);
        hashes.insert(hash_of(changed));
    }
    EXPECT_EQ(hashes.size(), changes.size() + 1);
}

TEST(Plan, HashChangesWithEveryOption) {
    std::set<std::uint64_t> hashes;
    int plans = 0;
    for (const int stages : {1, 2, 3}) {
        for (const int microbatches : {4, 5}) {
            for (const int active : {1, 2, 3, 4}) {
                hashes.insert(hash_of(plan_of({.stages = stages, .microbatches = microbatches, .active = active})));
                ++plans;
            }
        }
    }
    EXPECT_EQ(static_cast<int>(hashes.size()), plans);
}

TEST(Plan, HoldsOneProgramForEachStageWhateverTheOtherDegrees) {
    ParallelOptions options = testing::options_of({.stages = 2, .microbatches = 4});
    options.tensor_parallel_degree = 3;
    options.placement_strategy = "spread";
    const Plan plan = make_plan(testing::chain(4, true), options, {.pp = 2, .tp = 3, .rdp = 5}, 3);
    EXPECT_EQ(plan.topology.degrees.world(), 30);
    EXPECT_EQ(placement_letters(plan.topology), "TPD");
    EXPECT_EQ(plan.training.size(), 2u);
    EXPECT_EQ(plan.evaluation.size(), 2u);
    EXPECT_EQ(plan.sampling.size(), 2u);
    EXPECT_EQ(plan.active_microbatches, 4);
    EXPECT_THAT(check(plan), IsEmpty());
}

TEST(Plan, OrdersFollowMeasuredCosts) {
    const ModuleGraph graph = testing::chain(4, true);
    for (const auto schedule : {PipelineSchedule::interleaved, PipelineSchedule::zero_bubble}) {
        const ParallelOptions options =
            testing::options_of({.stages = 3, .microbatches = 6, .active = 2, .schedule = schedule});
        const auto plan_for = [&](const CostsOfChunks& measured) {
            return make_plan(graph, options, {.pp = 3}, 1, measured);
        };
        const Plan even = plan_for(CostsOfChunks(3));
        EXPECT_EQ(even.training, plan_for(CostsOfChunks(3)).training);
        EXPECT_THAT(check(even), IsEmpty());
        const Plan uneven = plan_for(CostsOfChunks{{.forward = 50}, {.backward_input = 90}, {}});
        EXPECT_THAT(check(uneven), IsEmpty());
        EXPECT_NE(uneven.training, even.training) << word_of(schedule);
        EXPECT_EQ(uneven.held_bytes, plan_for({}).held_bytes);
        EXPECT_THROW(plan_for(CostsOfChunks(2)), std::logic_error);
    }
}

TEST(Plan, RefusesBadOptionsWithAllTheirProblems) {
    ParallelOptions options = testing::options_by_hand({1, 1}, 4);
    options.stage_layers = {1, 1, 1};
    try {
        make_plan(testing::chain(4, false), options, {.pp = 2}, 1);
        FAIL();
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("has 3 entries"));
        EXPECT_THAT(error.what(), HasSubstr("adds up to 3 layers, but the model has 4"));
    }
    EXPECT_THROW(make_plan(testing::chain(4, false), testing::options_of({.stages = 2}), {.pp = 3}, 1),
                 std::logic_error);
}

TEST(Plan, IsReadableWhenPrinted) {
    const Plan plan = plan_of(kJob);
    const RankProgram& last = plan.training[StageId(1)];
    EXPECT_EQ(describe(last, last.actions[ActionId(0)]),
              "receive activations mb0 chunk1 <- stage 0, 72 bytes; writes activation_in mb0 chunk1; signals e0");
    EXPECT_EQ(name_of(last.actions.back()), "optimizer step");
}

}  // namespace
}  // namespace smp::partition
