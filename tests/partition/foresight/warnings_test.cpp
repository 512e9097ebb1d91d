// If these fail, smp_plan and smp_train keep silent about layouts that nobody wants, or cry without reason.
#include "partition/foresight/warnings.h"

#include <gmock/gmock.h>

#include "partition/stages/chunk_costs.h"
#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Layers of equal cost, and nothing else that costs.
ModuleGraph even_chain(int layers) {
    ModuleGraph graph = testing::chain(layers, false);
    for (Module& module : graph.modules) {
        module.forward_flops = module.is_layer ? 1e6 : 0;
        module.backward_flops = 2 * module.forward_flops;
        module.weight_flops = module.forward_flops;
    }
    return graph;
}

struct Layout {
    Degrees degrees;
    std::string placement = "cluster";
    int nodes = 1;
    int microbatches = 16;
    std::optional<int> active = std::nullopt;
    PipelineSchedule schedule = PipelineSchedule::interleaved;
};

std::vector<std::string> warnings_of(const Layout& layout, const ModuleGraph& graph, double memory_weight = 0) {
    ParallelOptions options;
    options.pipeline_parallel_degree = layout.degrees.pp;
    options.tensor_parallel_degree = layout.degrees.tp;
    options.placement_strategy = layout.placement;
    options.microbatches = layout.microbatches;
    options.active_microbatches = layout.active;
    options.pipeline = layout.schedule;
    options.memory_weight = memory_weight;
    ClusterOptions cluster;
    cluster.nodes = layout.nodes;
    return partition::warnings_of(make_plan(graph, options, layout.degrees, 1), graph, options, cluster);
}

std::vector<std::string> warnings_of(const Layout& layout) { return warnings_of(layout, even_chain(16)); }

TEST(Warnings, NoneForLayoutsInOrder) {
    EXPECT_THAT(warnings_of({.degrees = {.pp = 1, .tp = 1, .rdp = 1}, .microbatches = 1}), IsEmpty());
    EXPECT_THAT(warnings_of({.degrees = {.pp = 4, .tp = 2, .rdp = 2}, .nodes = 8}), IsEmpty());
    EXPECT_THAT(warnings_of({.degrees = {.pp = 2, .tp = 8, .rdp = 16}, .nodes = 32}), IsEmpty());
    EXPECT_THAT(warnings_of({.degrees = {.pp = 4, .tp = 1, .rdp = 1}, .microbatches = 4, .active = 4}), IsEmpty());
    EXPECT_THAT(warnings_of({.degrees = {.pp = 4, .tp = 1, .rdp = 1}, .schedule = PipelineSchedule::simple}),
                IsEmpty());
    // Tensor ranks far apart, but all on one node.
    EXPECT_THAT(warnings_of({.degrees = {.pp = 2, .tp = 2, .rdp = 2}, .placement = "spread"}), IsEmpty());
}

TEST(Warnings, TensorParallelismThatLeavesTheNode) {
    EXPECT_THAT(warnings_of({.degrees = {.pp = 2, .tp = 2, .rdp = 2}, .placement = "spread", .nodes = 2}),
                ElementsAre(AllOf(HasSubstr("placement TPD and 4 ranks a node the 2 shards"),
                                  HasSubstr("set parallel.placement_strategy = \"cluster\""))));
    EXPECT_THAT(warnings_of({.degrees = {.pp = 1, .tp = 8, .rdp = 2}, .nodes = 4}),
                ElementsAre(HasSubstr("lower parallel.tensor_parallel_degree to 4 (with placement")));
    EXPECT_THAT(warnings_of({.degrees = {.pp = 1, .tp = 8, .rdp = 4}, .nodes = 32}),
                ElementsAre(AllOf(HasSubstr("1 rank a node"), HasSubstr("degree to 1"))));
    // 8 shards on nodes of 12: the first group fits, the second does not.
    EXPECT_THAT(warnings_of({.degrees = {.pp = 3, .tp = 8, .rdp = 2}, .nodes = 4}),
                ::testing::Contains(AllOf(HasSubstr("12 ranks a node"), HasSubstr("degree to 4"))));
}

// Where ranks really are counts more than what the configuration says of nodes.
TEST(Warnings, TensorParallelismThatReallyLeavesTheNode) {
    const ModuleGraph graph = even_chain(16);
    ParallelOptions options;
    options.tensor_parallel_degree = 2;
    const Plan plan = make_plan(graph, options, {.pp = 1, .tp = 2, .rdp = 2}, 1);
    const auto warned = [&](int stated, const std::vector<int>& real) {
        ClusterOptions cluster;
        cluster.nodes = stated;
        return partition::warnings_of(plan, graph, options, cluster, {}, real);
    };
    EXPECT_THAT(warned(1, {0, 1, 0, 1}), ElementsAre(AllOf(HasSubstr("2 ranks a node the 2 shards"),
                                                           HasSubstr("start consecutive ranks on one host"))));
    EXPECT_THAT(warned(4, {0, 0, 1, 1}), IsEmpty());
    EXPECT_THAT(warned(4, {}), ElementsAre(HasSubstr("tensor parallelism leaves the node")));
    EXPECT_THROW(warned(1, {0, 0}), std::logic_error);
}

TEST(Warnings, TheRemedyForTensorParallelismIsOne) {
    for (const char* placement : {"DPT", "DTP", "PDT", "PTD", "TDP", "TPD"}) {
        for (const int tp : {2, 4, 8}) {
            for (const int nodes : {1, 2, 4, 8, 16, 32}) {
                const Layout layout{
                    .degrees = {.pp = 2, .tp = tp, .rdp = 16 / tp}, .placement = placement, .nodes = nodes};
                const auto warnings = warnings_of(layout);
                if (warnings.empty()) continue;
                Layout better = layout;
                better.placement = "cluster";
                if (32 / nodes >= tp) {
                    ASSERT_THAT(warnings, ElementsAre(HasSubstr("set parallel.placement_strategy = \"cluster\"")));
                } else {
                    better.degrees.tp = 32 / nodes;
                    better.degrees.rdp = 16 / better.degrees.tp;
                    ASSERT_THAT(warnings, ElementsAre(HasSubstr(fmt::format("degree to {} (", better.degrees.tp))));
                }
                EXPECT_THAT(warnings_of(better), IsEmpty()) << placement << tp << nodes;
            }
        }
    }
}

TEST(Warnings, ATensorDegreeThatIsNoPowerOfTwoWhereOneIsPossible) {
    const auto with_heads = [](int tp, std::int64_t heads) {
        ParallelOptions options;
        options.tensor_parallel_degree = tp;
        const ModuleGraph graph = even_chain(16);
        return partition::warnings_of(make_plan(graph, options, {.pp = 1, .tp = tp, .rdp = 5}, 1), graph, options, {},
                                      [heads](int degree) { return heads % degree == 0; });
    };
    EXPECT_THAT(with_heads(3, 12), ElementsAre(AllOf(HasSubstr("parallel.tensor_parallel_degree = 3"),
                                                     ::testing::EndsWith("set it to 2 or 4"))));
    EXPECT_THAT(with_heads(6, 12), ElementsAre(::testing::EndsWith("set it to 4")));
    EXPECT_THAT(with_heads(5, 25), IsEmpty());  // 25 heads divide by 5 and 25 only
    // Nothing has to divide by the other degrees.
    EXPECT_THAT(warnings_of({.degrees = {.pp = 3, .tp = 1, .rdp = 5}}, even_chain(12)), IsEmpty());
}

TEST(Warnings, StagesThatCannotBeKeptBusy) {
    EXPECT_THAT(warnings_of({.degrees = {.pp = 4, .tp = 1, .rdp = 1}, .microbatches = 2}),
                ElementsAre(AllOf(HasSubstr("2 microbatches cannot keep 4 stages busy"), HasSubstr("150 %"),
                                  HasSubstr("parallel.microbatches to 4 or more"))));
    EXPECT_THAT(warnings_of({.degrees = {.pp = 4, .tp = 1, .rdp = 1}, .microbatches = 8, .active = 2}),
                ElementsAre(AllOf(HasSubstr("parallel.active_microbatches = 2"), HasSubstr("p/K - 1 = 100 %"),
                                  HasSubstr("set it to 4 or more"))));
    // Both, each with its own remedy: 3 microbatches can at most be 3 active ones.
    EXPECT_THAT(warnings_of({.degrees = {.pp = 4, .tp = 1, .rdp = 1}, .microbatches = 3, .active = 1}),
                ElementsAre(HasSubstr("3 microbatches"), HasSubstr("set it to 3 or more")));
    // Weight parts fill gaps, so that no such number holds.
    EXPECT_THAT(warnings_of({.degrees = {.pp = 4, .tp = 1, .rdp = 1},
                             .microbatches = 8,
                             .active = 2,
                             .schedule = PipelineSchedule::zero_bubble}),
                ElementsAre(AllOf(HasSubstr("cannot keep 4 stages busy;"), ::testing::Not(HasSubstr("%")))));
}

TEST(Warnings, UnevenStages) {
    const Layout layout{.degrees = {.pp = 4, .tp = 1, .rdp = 1}};
    // Ten layers on four stages: 3 + 3 + 2 + 2.
    EXPECT_THAT(warnings_of(layout, even_chain(10)),
                ElementsAre(AllOf(HasSubstr("20.0 % more FLOPs than the mean"), HasSubstr("no other cut"))));
    // 5 % is tolerable, more is not.
    ModuleGraph graph = even_chain(16);
    graph.modules.back().backward_flops = 0.64e6;  // on 12e6 a stage: 1.040 times the mean
    EXPECT_THAT(warnings_of(layout, graph), IsEmpty());
    graph.modules.back().backward_flops = 0.84e6;  // 1.052 times
    EXPECT_THAT(warnings_of(layout, graph), ElementsAre(HasSubstr("stage 3 has 5.2 %")));
    // A big embedding, evened out in memory.
    graph = even_chain(16);
    graph.modules.front().parameter_count = 100000;
    EXPECT_THAT(warnings_of(layout, graph, /*memory_weight=*/1),
                ElementsAre(HasSubstr("memory_weight = 0 it would be 0.0 %")));
}

TEST(Warnings, OffloadingThatHasNoEffect) {
    ParallelOptions options;
    options.pipeline_parallel_degree = 2;
    options.microbatches = 4;
    options.offload_activations = true;
    const auto warnings = [&] {
        const ModuleGraph graph = even_chain(8);
        return partition::warnings_of(make_plan(graph, options, {.pp = 2}, 1), graph, options, {});
    };
    EXPECT_THAT(warnings(), ElementsAre(HasSubstr("no effect with activation_checkpointing = \"none\"")));
    options.activation_checkpointing = "each";
    EXPECT_THAT(warnings(), IsEmpty());
    options.activation_loading_horizon = 64;
    EXPECT_THAT(warnings(), ElementsAre(HasSubstr("with activation_loading_horizon = 64 every checkpointed input")));
}

// It saves memory there too: all layers but those within the horizon are away at the peak.
TEST(Warnings, OffloadingWithOneMicrobatchHasAnEffect) {
    ParallelOptions options;
    options.offload_activations = true;
    options.activation_checkpointing = "each";
    options.activation_loading_horizon = 1;
    const ModuleGraph graph = even_chain(8);
    EXPECT_THAT(partition::warnings_of(make_plan(graph, options, {.pp = 1}, 1), graph, options, {}), IsEmpty());
}

TEST(ChunkCosts, AddUpTheModules) {
    const ModuleGraph graph = testing::chain(4, true);
    const ChunkCosts all = costs_of(graph, {.stage = StageId(0), .first_module = 0, .end_module = 6});
    EXPECT_EQ(all.layers, 4);
    EXPECT_EQ(all.parameter_count, 300 + 120 + 121 + 122 + 123 + 300);
    EXPECT_EQ(all.forward_flops, 100 + 101 + 102 + 103 + 104 + 105);
    EXPECT_EQ(all.flops(), 3 * all.forward_flops);
    EXPECT_EQ(all.weight_flops, all.forward_flops);
    EXPECT_EQ(all.stash_bytes, 6 * 50 + 7 * 15 + 5 * 64 + 4 * 10);  // the boundaries inside are kept too
    EXPECT_EQ(all.output_bytes, 0);
    EXPECT_EQ(costs_of(graph, {.stage = StageId(0), .first_module = 0, .end_module = 2}).output_bytes, 68);
    const Chunks chunks = {{StageId(0), 0, 1}, {StageId(1), 1, 3}, {StageId(0), 3, 6}};
    EXPECT_THAT(stage_flops(graph, chunks, 2), ElementsAre(3 * (100 + 103 + 104 + 105), 3 * (101 + 102)));
    EXPECT_EQ(imbalance({3, 1}), 0.5);
    EXPECT_EQ(imbalance({0, 0}), 0);
}

}  // namespace
}  // namespace smp::partition
