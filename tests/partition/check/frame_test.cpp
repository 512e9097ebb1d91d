// Plans whose frame does not hold what their programs say, as a file may hold one: degrees, chunks, bounds, counts,
// costs. If these fail, a damaged file makes a program allocate or count without bound, or index what is not there.
#include <functional>
#include <limits>

#include <gmock/gmock.h>

#include "partition/check/checker.h"
#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
constexpr int kHugeCount = std::numeric_limits<int>::max();

class Frame : public ::testing::Test {
  protected:
    Frame() {
        ParallelOptions options = testing::options_of({.stages = 2, .microbatches = 3, .chunks_per_stage = 2});
        options.activation_checkpointing = "each";
        plan_ = make_plan(graph_, options, {.pp = 2, .tp = 1, .rdp = 2}, 2);
    }

    using Change = std::function<void(Plan&)>;
    void refused(const std::string& sentence, const Change& change) const {
        Plan changed = plan_;
        change(changed);
        EXPECT_THAT(check(changed, graph_), Contains(HasSubstr(sentence)));
    }
    void refused(const std::string& sentence, const std::function<void(ModuleGraph&)>& change) const {
        ModuleGraph changed = graph_;
        change(changed);
        EXPECT_THAT(check(plan_, changed), Contains(HasSubstr(sentence)));
    }

    ModuleGraph graph_ = testing::chain(6, true);
    Plan plan_;
};

TEST_F(Frame, IsSoundBeforeTheChange) { EXPECT_THAT(check(plan_, graph_), IsEmpty()); }

TEST_F(Frame, Degrees) {
    refused("degrees 0 x 1 x 2: each must be 1 or more", [](Plan& plan) { plan.topology.degrees.pp = 0; });
    refused("all together 16777216 ranks or less", [](Plan& plan) { plan.topology.degrees.tp = 1 << 23; });
    refused("training: 2 programs for 3 stages", [](Plan& plan) { plan.topology.degrees.pp = 3; });
    refused("evaluation: 1 programs for 2 stages", [](Plan& plan) { plan.evaluation.pop_back(); });
    refused("names an axis twice", [](Plan& plan) { plan.topology.order[1] = plan.topology.order[0]; });
}

TEST_F(Frame, Chunks) {
    refused("chunk 1 is on stage 2 of 2", [](Plan& plan) { plan.chunks[ChunkId(1)].stage = StageId(2); });
    refused("chunk 1 is on stage -1 of 2", [](Plan& plan) { plan.chunks[ChunkId(1)].stage = kNone; });
    refused("stage 1 has none of the chunks", [](Plan& plan) {
        for (Chunk& chunk : plan.chunks) chunk.stage = StageId(0);
    });
    refused("stage 0 has none of the chunks", [](Plan& plan) { plan.chunks.clear(); });
    refused("chunk 2 has modules", [](Plan& plan) { ++plan.chunks[ChunkId(2)].first_module; });
    refused("chunk 3 has modules", [](Plan& plan) { plan.chunks[ChunkId(3)].end_module = 0; });
    refused("the chunks hold 9 modules, the model has 8", [](Plan& plan) { ++plan.chunks.back().end_module; });
    refused("the groups of chunk 0 do not cut it", [](Plan& plan) { ++plan.chunks[ChunkId(0)].groups[GroupId(0)]; });
    refused("the groups of chunk 3 do not cut it", [](Plan& plan) { plan.chunks.back().groups.push_back(kHugeCount); });
}

// Which stage holds a chunk is the plan's to say; that its programs do the same is proven as before.
TEST_F(Frame, AnotherPlacementIsNoFault) {
    Plan changed = plan_;
    std::swap(changed.chunks[ChunkId(2)].stage, changed.chunks[ChunkId(3)].stage);
    for (const std::string& finding : check(changed)) EXPECT_THAT(finding, HasSubstr(": stage "));
    EXPECT_THAT(check(changed), Not(IsEmpty()));
}

TEST_F(Frame, Counts) {
    for (const int microbatches : {0, -1, kHugeCount}) {
        refused("training: stage 0 has", [&](Plan& plan) { plan.microbatches = microbatches; });
        refused("evaluation: stage 0 has", [&](Plan& plan) { plan.evaluation_microbatches = microbatches; });
    }
    for (const int events : {-1, kHugeCount})
        refused("events for", [&](Plan& plan) { plan.training[StageId(0)].events = events; });
    for (const std::int64_t bytes : {std::int64_t{-1}, kHuge}) {
        refused("bytes", [&](Plan& plan) { plan.sampling[StageId(1)].buffers.back().bytes = bytes; });
        refused("bytes by", [&](Plan& plan) { plan.training[StageId(1)].actions.back().bytes = bytes; });
    }
}

TEST_F(Frame, Bounds) {
    for (const int active : {0, 4})
        refused("of 3 microbatches may be active", [&](Plan& plan) { plan.active_microbatches = active; });
    refused("a loading horizon of -1", [](Plan& plan) { plan.loading_horizon = -1; });
    refused("1 bounds on held bytes, where interleaved needs 0", [](Plan& plan) { plan.held_bytes = {7}; });
    refused("0 bounds on held bytes, where zero_bubble needs 2",
            [](Plan& plan) { plan.schedule = PipelineSchedule::zero_bubble; });
}

TEST_F(Frame, CostsAndSharedParameters) {
    using Graph = ModuleGraph;
    refused("the costs of module h.0 are no costs", [](Graph& graph) { graph.modules[1].parameter_count = kHuge; });
    refused("the costs of module h.0 are no costs", [](Graph& graph) { graph.modules[1].stash_bytes = -1; });
    refused("the costs of module h.0 are no costs", [](Graph& graph) { graph.modules[1].forward_flops = 1e300; });
    refused("the costs of module h.0 are no costs", [](Graph& graph) { graph.modules[1].weight_flops *= 9; });
    refused("the modules of wte.weight are no modules", [](Graph& graph) { graph.shared[0].modules[1] = 99; });
    refused("the modules of wte.weight are no modules", [](Graph& graph) { graph.shared[0].modules.clear(); });
    refused("where the model shares nothing", [](Graph& graph) { graph.shared[0].modules[1] = 3; });
}

}  // namespace
}  // namespace smp::partition
