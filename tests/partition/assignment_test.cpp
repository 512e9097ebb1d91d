#include "partition/assignment.h"

#include <algorithm>
#include <functional>
#include <map>

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "partition/problem.h"
#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

using testing::chain;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::options_by_hand;
using testing::options_of;

/// Largest chunk and sum of squares: what cheapest_split minimises, in this order, before it prefers early cuts.
using Quality = std::pair<std::int64_t, __int128>;

Quality quality_of(const ChainCosts& costs, const std::vector<int>& first_modules) {
    Quality quality{0, 0};
    for (std::size_t i = 0; i < first_modules.size(); ++i) {
        const int end =
            i + 1 < first_modules.size() ? first_modules[i + 1] : static_cast<int>(costs.module_ticks.size());
        const std::int64_t ticks = costs.of(first_modules[i], end);
        quality.first = std::max(quality.first, ticks);
        quality.second += static_cast<__int128>(ticks) * ticks;
    }
    return quality;
}

/// All splits, in ascending order of their cuts; the first of the best ones.
std::vector<int> by_brute_force(const ChainCosts& costs, int chunks) {
    const auto modules = static_cast<int>(costs.module_ticks.size());
    std::vector<int> best, current = {0};
    const std::function<void()> extend = [&] {
        if (static_cast<int>(current.size()) == chunks) {
            if (best.empty() || quality_of(costs, current) < quality_of(costs, best)) best = current;
            return;
        }
        for (int next = current.back() + 1; next < modules; ++next) {
            current.push_back(next);
            extend();
            current.pop_back();
        }
    };
    extend();
    return best;
}

rc::Gen<ChainCosts> random_chain() {
    return rc::gen::exec([] {
        ChainCosts costs;
        const int modules = *rc::gen::inRange(1, 10);
        // Small numbers make ties, large ones uneven modules.
        const int largest = *rc::gen::element(2, 10, 1000000);
        for (int i = 0; i < modules; ++i) costs.module_ticks.push_back(*rc::gen::inRange(0, largest));
        const int shared = *rc::gen::inRange(0, 3);
        for (int s = 0; s < shared; ++s) {
            ChainCosts::Shared parameter{.ticks = *rc::gen::inRange(0, largest), .modules = {}};
            for (int i = 0; i < modules; ++i) {
                if (*rc::gen::inRange(0, 3) == 0) parameter.modules.push_back(i);
            }
            for (const int i : parameter.modules) costs.module_ticks[static_cast<std::size_t>(i)] += parameter.ticks;
            costs.shared.push_back(parameter);
        }
        return costs;
    });
}

TEST(Assignment, SplitIsTheBestOfAllSplitsOnRandomChains) {
    int compared = 0;
    // 100 cases of growing size by default, 40 chains each, every number of chunks.
    ASSERT_TRUE(rc::check([&] {
        for (int i = 0; i < 40; ++i) {
            const ChainCosts costs = *random_chain();
            for (int chunks = 1; chunks <= static_cast<int>(costs.module_ticks.size()); ++chunks) {
                RC_ASSERT(cheapest_split(costs, chunks) == by_brute_force(costs, chunks));
                ++compared;
            }
        }
    }));
    EXPECT_GT(compared, 10000);
}

TEST(Assignment, ChainCostsAreSharesOfTheWholeChain) {
    const ModuleGraph graph = chain(5, false);
    for (const double weight : {0.0, 0.3, 0.8, 1.0}) {
        const ChainCosts costs = chain_costs(graph, weight, 3);
        double memory = 0, compute = 0;
        for (const Module& m : graph.modules) {
            memory += 16.0 * static_cast<double>(m.parameter_count) + 3.0 * static_cast<double>(m.stash_bytes);
            compute += m.forward_flops + m.backward_flops;
        }
        for (std::size_t i = 0; i < graph.modules.size(); ++i) {
            const Module& m = graph.modules[i];
            const double expected =
                1e9 *
                (weight * (16.0 * static_cast<double>(m.parameter_count) + 3.0 * static_cast<double>(m.stash_bytes)) /
                     memory +
                 (1 - weight) * (m.forward_flops + m.backward_flops) / compute);
            // Each of the two shares is rounded down to a tick.
            EXPECT_NEAR(static_cast<double>(costs.module_ticks[i]), expected, 2.01) << i;
        }
    }
}

TEST(Assignment, TiedCopyCostsBothItsStagesAndIsCheaperOnOne) {
    const ModuleGraph graph = chain(3, true);
    const ChainCosts costs = chain_costs(graph, 1.0, 1);
    std::int64_t sum = 0;
    for (const std::int64_t ticks : costs.module_ticks) sum += ticks;
    EXPECT_EQ(costs.of(0, 5), sum - costs.shared.at(0).ticks);
    EXPECT_EQ(costs.of(0, 2) + costs.of(2, 5), sum);
    EXPECT_GT(costs.shared.at(0).ticks, 0);
}

TEST(Assignment, HeavyHeadTakesFewerLayers) {
    ModuleGraph graph = chain(12, true);
    for (Module& m : graph.modules) m.stash_bytes = 0;
    graph.modules.back().forward_flops = 400;
    graph.modules.back().backward_flops = 800;
    ParallelOptions options = options_of({.stages = 4, .microbatches = 4});
    options.memory_weight = 0.0;
    const std::vector<Chunk> chunks = assign_stages(graph, options);
    ASSERT_EQ(chunks.size(), 4u);
    EXPECT_LT(chunks[3].end_module - chunks[3].first_module, chunks[1].end_module - chunks[1].first_module);
    EXPECT_EQ(chunks[0].first_module, 0);
    EXPECT_EQ(chunks[3].end_module, 14);
    for (int stage = 0; stage < 4; ++stage) EXPECT_EQ(chunks[static_cast<std::size_t>(stage)].stage, stage);
}

TEST(Assignment, ByHandGivesEmbeddingToTheFirstAndHeadToTheLastStage) {
    ParallelOptions options = options_by_hand({1, 3, 2}, 1);
    EXPECT_THAT(assign_stages(chain(6, false), options), ElementsAre(Chunk{0, 0, 2}, Chunk{1, 2, 5}, Chunk{2, 5, 8}));
    options.stage_layers = {0, 6, 0};
    EXPECT_THAT(assign_stages(chain(6, false), options), ElementsAre(Chunk{0, 0, 1}, Chunk{1, 1, 7}, Chunk{2, 7, 8}));
}

std::string refusal_of(const ModuleGraph& graph, const ParallelOptions& options) {
    try {
        assign_stages(graph, options);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "";
}

TEST(Assignment, RefusesWhatDoesNotAddUpBySayingWhy) {
    ParallelOptions options = options_by_hand({1, 3, 3}, 1);
    EXPECT_THAT(refusal_of(chain(6, false), options),
                HasSubstr("parallel.stage_layers is [1, 3, 3], which adds up to 7 layers, but the model has 6"));
    options.stage_layers = {3, 3};
    EXPECT_THAT(refusal_of(chain(6, false), options), HasSubstr("it needs 3"));
    options.stage_layers = {3, 4, -1};
    EXPECT_THAT(refusal_of(chain(6, false), options), HasSubstr("0 layers or more"));
    options.stage_layers = {3, 0, 3};
    EXPECT_THAT(refusal_of(chain(6, false), options), HasSubstr("leaves stage 1 without any module"));
    EXPECT_THAT(refusal_of(chain(2, false), options_of({.stages = 3})),
                HasSubstr("parallel.pipeline_parallel_degree is 3, but the model has only 2 layers"));
}

}  // namespace
}  // namespace smp::partition
