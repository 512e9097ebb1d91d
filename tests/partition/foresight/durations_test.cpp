#include "partition/foresight/durations.h"

#include <gtest/gtest.h>

#include "partition/foresight/simulator.h"
#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

// Sizes of chain(3): wte, h.0, h.1, h.2, lm_head; two stages of 2 and 1 layers.
constexpr Rates kRates{.flops_per_second = 1e9,  // one FLOP is one tick
                       .between_nodes = {.bytes_per_second = 0.25e9, .latency_seconds = 90e-9},
                       .inside_node = {.bytes_per_second = 0.5e9, .latency_seconds = 70e-9},
                       .memory_bytes_per_second = 4e9};

Plan two_stages(int rdp) {
    return make_plan(testing::chain(3, true), testing::options_by_hand({2, 1}, 2), {.pp = 2, .tp = 1, .rdp = rdp}, 1);
}

void expect_prices(const Plan& plan, StageId stage, ActionKind kind, ActionDuration expected) {
    const Durations durations = modelled_durations(plan, plan.training, testing::chain(3, true), kRates);
    int found = 0;
    for (const auto i : durations[stage].ids()) {
        const Action& action = plan.training[stage].actions[i];
        if (action.kind != kind || action.channel == Channel::tied) continue;
        EXPECT_EQ(durations[stage][i], expected) << name_of(action) << " of stage " << stage;
        ++found;
    }
    EXPECT_GT(found, 0);
}

TEST(Durations, FollowTheirFormulas) {
    const Plan plan = two_stages(4);
    expect_prices(plan, StageId(0), ActionKind::forward, {.duration = 100 + 101 + 102});
    expect_prices(plan, StageId(1), ActionKind::forward, {.duration = 103 + 104});
    expect_prices(plan, StageId(0), ActionKind::backward, {.duration = 2 * (100 + 101 + 102)});
    // Module 2 ends the first chunk: 64 + 4·2 bytes at half a byte a tick.
    expect_prices(plan, StageId(0), ActionKind::send, {.duration = 144, .latency = 70});
    expect_prices(plan, StageId(1), ActionKind::send, {.duration = 144, .latency = 70});
    expect_prices(plan, StageId(1), ActionKind::receive, {});
    // Two copies of 290 fp32 gradients read and one written, at four bytes a tick.
    expect_prices(plan, StageId(0), ActionKind::sum_tied_gradients, {.duration = 3 * 290});
    // 2·3/4 of 4 bytes an element, at half a byte a tick; 541 and 422 parameters are padded to multiples of 64 a rank.
    expect_prices(plan, StageId(0), ActionKind::reduce_gradients, {.duration = 12 * 768, .latency = 140});
    expect_prices(plan, StageId(1), ActionKind::reduce_gradients, {.duration = 12 * 512, .latency = 140});
    expect_prices(plan, StageId(1), ActionKind::optimizer_step, {.duration = 7 * (122 + 300)});
}

// In 16 bits: gradient, two moments and master read, these three and the value written.
TEST(Durations, MastersMoveTwoBytesMore) {
    ModuleGraph graph = testing::chain(3, true);
    graph.precision = Precision::fp16;
    const Plan plan = make_plan(graph, testing::options_by_hand({2, 1}, 2), {.pp = 2}, 1);
    const auto& actions = plan.training[StageId(1)].actions;
    const auto durations = modelled_durations(plan, plan.training, graph, kRates);
    for (const auto i : actions.ids()) {
        if (actions[i].kind == ActionKind::optimizer_step) {
            EXPECT_EQ(durations[StageId(1)][i].duration, 30 * (122 + 300) / 4);
        }
    }
}

TEST(Durations, OneDataParallelRankReducesNothing) {
    expect_prices(two_stages(1), StageId(0), ActionKind::reduce_gradients, {});
}

TEST(Durations, AReductionOverManyRanksNearsTwiceTheBytes) {
    // 2·99/100 of 4·6400 bytes, at half a byte a tick: 541 parameters, padded to 64 a rank.
    expect_prices(two_stages(100), StageId(0), ActionKind::reduce_gradients, {.duration = 101376, .latency = 140});
}

TEST(Durations, PartsOfABackwardMakeAWhole) {
    const Plan plan =
        testing::plan_of({.stages = 3, .microbatches = 4, .schedule = PipelineSchedule::zero_bubble, .tied = true});
    const ModuleGraph graph = testing::chain(4, true);
    const Durations durations = modelled_durations(plan, plan.training, graph, kRates);
    for (const StageId stage : plan.training.ids()) {
        std::int64_t whole = 0, weight = 0;
        for (int m = plan.chunks[ChunkId(stage.number())].first_module;
             m < plan.chunks[ChunkId(stage.number())].end_module; ++m) {
            whole += 200 + 2 * m;
            weight += 100 + m;
        }
        int found = 0;
        for (const auto i : durations[stage].ids()) {
            const ActionKind kind = plan.training[stage].actions[i].kind;
            const bool is_input = kind == ActionKind::backward_input;
            if (!is_input && kind != ActionKind::backward_weight) continue;
            EXPECT_EQ(durations[stage][i], ActionDuration{.duration = is_input ? whole - weight : weight});
            ++found;
        }
        EXPECT_EQ(found, 8);
    }
}

TEST(Durations, CoverForwardOnlyPrograms) {
    const Plan plan = two_stages(2);
    const Durations durations = modelled_durations(plan, plan.evaluation, testing::chain(3, true), kRates);
    ASSERT_EQ(durations.size(), 2u);
    for (const StageId stage : plan.evaluation.ids())
        EXPECT_EQ(durations[stage].size(), plan.evaluation[stage].actions.size());
    EXPECT_EQ(durations[StageId(0)][ActionId(0)], ActionDuration{.duration = 303});
}

// A layer over tensor ranks waits for them: rounds of 70 ticks and bytes at half a byte a tick inside a node, 90 and a
// quarter between nodes.
TEST(Durations, ExchangeWithTheTensorGroupByRoundsBytesAndBorders) {
    const ModuleGraph graph = testing::large_chain(3, false);
    ParallelOptions options = testing::options_by_hand({2, 1}, 2);
    options.tensor_parallel_degree = 2;
    const Plan plan = make_plan(graph, options, {.pp = 2, .tp = 2, .rdp = 2}, 1);
    const auto exchange_of = [&](ActionKind kind, int ranks_per_node) {
        const Durations durations = modelled_durations(plan, plan.training, graph, kRates, ranks_per_node);
        for (const auto i : plan.training[StageId(0)].actions.ids()) {
            if (plan.training[StageId(0)].actions[i].kind != kind) continue;
            const ActionDuration& found = durations[StageId(0)][i];
            const std::int64_t work = kind == ActionKind::forward ? 303 : kind == ActionKind::backward ? 606 : 0;
            EXPECT_EQ(found.duration, work + found.exchange);
            return found.exchange;
        }
        throw std::logic_error("no such action");
    };
    // Three modules: embedding and two layers.
    EXPECT_EQ(exchange_of(ActionKind::forward, 0), 6 * 70 + 2 * (100 + 101 + 102));
    EXPECT_EQ(exchange_of(ActionKind::backward, 8), 9 * 70 + 2 * (200 + 201 + 202));
    EXPECT_EQ(exchange_of(ActionKind::forward, 2), 6 * 70 + 2 * (100 + 101 + 102));
    EXPECT_EQ(exchange_of(ActionKind::forward, 1), 6 * 90 + 4 * (100 + 101 + 102));
    EXPECT_EQ(exchange_of(ActionKind::sum_row_gradients, 0), 2 * 70 + 2 * 4 * (8 + 9 + 10));
    const Timeline timeline =
        simulate(plan.training, modelled_durations(plan, plan.training, graph, kRates, /*ranks_per_node=*/1));
    for (const StageTime& time : timeline.stages) {
        EXPECT_GT(time.exposed, 0);
        EXPECT_EQ(time.compute + time.exposed + time.bubble, timeline.makespan);
    }
}

TEST(Durations, MessagesAndReductionsCrossBordersToo) {
    const Plan plan = two_stages(4);
    const ModuleGraph graph = testing::chain(3, true);
    const auto price = [&](ActionKind kind, int ranks_per_node) {
        const Durations durations = modelled_durations(plan, plan.training, graph, kRates, ranks_per_node);
        for (const auto i : plan.training[StageId(0)].actions.ids())
            if (plan.training[StageId(0)].actions[i].kind == kind) return durations[StageId(0)][i];
        throw std::logic_error("no such action");
    };
    // Ranks by D, then P: 0 and 1 are the stages of the first pipeline.
    EXPECT_EQ(price(ActionKind::send, 2), (ActionDuration{.duration = 144, .latency = 70}));
    EXPECT_EQ(price(ActionKind::send, 1), (ActionDuration{.duration = 288, .latency = 90}));
    EXPECT_EQ(price(ActionKind::reduce_gradients, 8), (ActionDuration{.duration = 12 * 768, .latency = 140}));
    EXPECT_EQ(price(ActionKind::reduce_gradients, 2), (ActionDuration{.duration = 24 * 768, .latency = 180}));
}

TEST(Durations, RefuseWhatCannotBeARate) {
    const Plan plan = two_stages(2);
    const ModuleGraph graph = testing::chain(3, true);
    EXPECT_THROW(modelled_durations(plan, plan.training, graph, {.flops_per_second = 0}), std::logic_error);
    EXPECT_THROW(modelled_durations(plan, plan.training, graph, {.between_nodes = {.bytes_per_second = -1}}),
                 std::logic_error);
    EXPECT_THROW(modelled_durations(plan, plan.training, graph, {.memory_bytes_per_second = 0.0 / 0.0}),
                 std::logic_error);
    EXPECT_THROW(modelled_durations(plan, plan.training, graph, {.copy_bytes_per_second = 0}), std::logic_error);
    EXPECT_THROW(modelled_durations(plan, plan.training, graph, {.inside_node = {.latency_seconds = -1}}),
                 std::logic_error);
}

TEST(Durations, CopiesCostTheirBytesEachDirection) {
    ParallelOptions options = testing::options_by_hand({1, 2}, 4);
    options.activation_checkpointing = "each";
    options.offload_activations = true;
    options.activation_loading_horizon = 1;
    const ModuleGraph graph = testing::chain(3, true);
    const Plan plan = make_plan(graph, options, {.pp = 2}, 1);
    Rates rates = kRates;
    rates.copy_bytes_per_second = 0.25e9;  // four ticks a byte
    const Durations durations = modelled_durations(plan, plan.training, graph, rates);
    int copies = 0;
    for (const auto i : plan.training[StageId(1)].actions.ids()) {
        const Action& action = plan.training[StageId(1)].actions[i];
        if (action.stream != Stream::copy_out && action.stream != Stream::copy_in) continue;
        ++copies;
        const std::int64_t bytes = graph.modules[action.group.number() + 1].output_bytes;
        EXPECT_EQ(durations[StageId(1)][i], (ActionDuration{.duration = 4 * bytes, .latency = 0})) << name_of(action);
    }
    EXPECT_GT(copies, 0);
}

}  // namespace
}  // namespace smp::partition
