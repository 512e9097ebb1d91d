// If these fail, plans know more about where chunks are than their placement says.
#include "partition/stages/placement.h"

#include <stdexcept>

#include <gmock/gmock.h>

#include "partition/check/checker.h"
#include "partition/foresight/simulator.h"
#include "partition/plan/lowering.h"
#include "partition/schedule/list_scheduling.h"
#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Placement, InTurnGoesRoundTheStages) {
    const Placement placement = in_turn(3, 2);
    EXPECT_EQ(placement.stages(), 3);
    EXPECT_EQ(placement.chunks(), 6);
    EXPECT_THAT(placement.chunks_of(StageId(1)), ElementsAre(ChunkId(1), ChunkId(4)));
    for (const ChunkId chunk : placement.all_chunks()) {
        EXPECT_EQ(placement.stage_of(chunk).number(), chunk.number() % 3);
        EXPECT_EQ(placement.own_index(chunk), chunk.number() / 3);
        EXPECT_TRUE(placement.is_on(placement.stage_of(chunk), chunk));
    }
    EXPECT_FALSE(placement.is_on(StageId(0), ChunkId(6)));
    EXPECT_FALSE(placement.is_on(StageId(0), kNone));
}

TEST(Placement, RefusesAStageThatIsNotThere) {
    EXPECT_THROW(Placement(2, {StageId(0), StageId(2)}), std::logic_error);
    EXPECT_THROW(Placement(2, {StageId(0), kNone}), std::logic_error);
    Plan plan = testing::plan_of({.stages = 2, .microbatches = 2});
    plan.chunks.back().stage = StageId(2);
    EXPECT_THAT(check(plan), Contains(HasSubstr("chunk 1 is on stage 2 of 2")));
}

/// Down the stages and up again: 0, 1, …, p − 1, p − 1, …, 0.
Placement v_shaped(int stages) {
    Table<ChunkId, StageId> stage_of;
    for (int stage = 0; stage < stages; ++stage) stage_of.push_back(StageId(stage));
    for (int stage = stages; stage-- > 0;) stage_of.push_back(StageId(stage));
    return {stages, std::move(stage_of)};
}

/// One layer a chunk, the embedding with the first and the head with the last.
Chunks chunks_of(const Placement& placement) {
    Chunks chunks;
    const int layers = placement.chunks();
    for (const ChunkId chunk : placement.all_chunks()) {
        const bool is_first = chunk == ChunkId(0), is_last = chunk == placement.last_chunk();
        chunks.push_back({.stage = placement.stage_of(chunk),
                          .first_module = is_first ? 0 : chunk.number() + 1,
                          .end_module = is_last ? layers + 2 : chunk.number() + 2});
    }
    return chunks;
}

void expect_proven(const Placement& placement, const ComputeOrders& orders, int microbatches) {
    const ModuleGraph graph = testing::chain(placement.chunks(), /*tied=*/true);
    const Chunks chunks = chunks_of(placement);
    const Programs programs =
        lower(graph, chunks, flat_sections(graph, chunks, 1), orders, microbatches, {.receives_ahead = 3});
    const Duty duty{.placement = placement, .microbatches = microbatches, .active_microbatches = microbatches};
    ASSERT_THAT(check(programs, duty), IsEmpty());
    Durations durations;
    for (const RankProgram& program : programs) durations.emplace_back(program.actions.size(), ActionDuration{1, 0});
    EXPECT_GT(simulate(programs, durations).makespan, 0);
    // First and last chunk are on one stage: the copies of what they share are added without a message.
    for (const RankProgram& program : programs) {
        for (const Action& action : program.actions) EXPECT_NE(action.channel, Channel::tied);
    }
    if (placement.stages() > 1) {
        Duty dealt_out = duty;
        dealt_out.placement = in_turn(placement.stages(), 2);
        EXPECT_THAT(check(programs, dealt_out), Contains(HasSubstr("is not among this stage's steps")));
    }
}

TEST(Placement, AVByHandIsLoweredAndProven) {
    const auto step = [](ComputationKind kind, int microbatch, int chunk) {
        return Computation{kind, MicrobatchId(microbatch), ChunkId(chunk)};
    };
    constexpr auto F = ComputationKind::forward, B = ComputationKind::backward;
    expect_proven(v_shaped(2),
                  {{step(F, 0, 0), step(F, 1, 0), step(F, 0, 3), step(B, 0, 3), step(F, 1, 3), step(B, 1, 3),
                    step(B, 0, 0), step(B, 1, 0)},
                   {step(F, 0, 1), step(F, 0, 2), step(F, 1, 1), step(F, 1, 2), step(B, 0, 2), step(B, 0, 1),
                    step(B, 1, 2), step(B, 1, 1)}},
                  2);
}

TEST(Placement, AVIsScheduledLoweredAndProven) {
    for (int stages = 1; stages <= 5; ++stages) {
        for (int microbatches = 1; microbatches <= 6; ++microbatches) {
            SchedulingRules rules{.placement = v_shaped(stages),
                                  .microbatches = microbatches,
                                  .costs = CostsOfChunks(static_cast<std::size_t>(2 * stages)),
                                  .active_limit = microbatches};
            for (const int own_chunk : {0, 1}) {
                for (const MicrobatchId m : first_ids<MicrobatchId>(microbatches)) {
                    rules.forwards.push_back({m, own_chunk});
                    rules.backwards.push_back({m, 1 - own_chunk});
                }
            }
            rules.held_limit = Table<StageId, int>(static_cast<std::size_t>(stages), 2 * microbatches);
            expect_proven(rules.placement, schedule_by_list(rules).orders, microbatches);
        }
    }
}

}  // namespace
}  // namespace smp::partition
