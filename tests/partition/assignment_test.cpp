#include "partition/assignment.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

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

/// What these modules cost whoever holds them, from the definition of ChainCosts.
std::int64_t cost_of(const ChainCosts& costs, const std::vector<int>& modules) {
    std::int64_t sum = 0;
    for (const int m : modules) sum += costs.module_ticks[static_cast<std::size_t>(m)];
    for (const auto& parameter : costs.shared) {
        std::int64_t copies = 0;
        for (const int m : modules) copies += std::count(parameter.modules.begin(), parameter.modules.end(), m);
        if (copies > 1) sum -= (copies - 1) * parameter.ticks;
    }
    return sum;
}

/// What cheapest_split minimises, in this order.
struct Quality {
    std::int64_t largest_chunk = 0;
    std::int64_t largest_rank = 0;
    __int128 squares = 0;
    std::vector<int> cuts;  // stage by stage

    auto key() const { return std::tie(largest_chunk, largest_rank, squares, cuts); }
    bool operator<(const Quality& other) const { return key() < other.key(); }
};

Quality quality_of(const ChainCosts& costs, const std::vector<int>& first_modules, int stages) {
    Quality quality;
    const auto chunks = first_modules.size(), step = static_cast<std::size_t>(stages);
    for (std::size_t stage = 0; stage < step; ++stage) {
        std::vector<int> of_rank;
        for (std::size_t chunk = stage; chunk < chunks; chunk += step) {
            std::vector<int> modules(static_cast<std::size_t>(
                (chunk + 1 < chunks ? first_modules[chunk + 1] : static_cast<int>(costs.module_ticks.size())) -
                first_modules[chunk]));
            std::iota(modules.begin(), modules.end(), first_modules[chunk]);
            const std::int64_t ticks = cost_of(costs, modules);
            quality.largest_chunk = std::max(quality.largest_chunk, ticks);
            quality.squares += static_cast<__int128>(ticks) * ticks;
            quality.cuts.push_back(first_modules[chunk]);
            of_rank.insert(of_rank.end(), modules.begin(), modules.end());
        }
        quality.largest_rank = std::max(quality.largest_rank, cost_of(costs, of_rank));
    }
    return quality;
}

std::vector<int> by_brute_force(const ChainCosts& costs, int stages, int chunks_per_stage) {
    const auto modules = static_cast<int>(costs.module_ticks.size());
    std::vector<int> best, current = {0};
    Quality least;
    const std::function<void()> extend = [&] {
        if (static_cast<int>(current.size()) == stages * chunks_per_stage) {
            Quality quality = quality_of(costs, current, stages);
            if (!best.empty() && !(quality < least)) return;
            best = current;
            least = std::move(quality);
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

void share(ChainCosts& costs, std::int64_t ticks, std::vector<int> modules) {
    for (const int m : modules) costs.module_ticks[static_cast<std::size_t>(m)] += ticks;
    costs.shared.push_back({.ticks = ticks, .modules = std::move(modules)});
}

/// A GPT-2's: layers that cost the same or not, an embedding and a head, tied or not.
ChainCosts random_model(int modules) {
    ChainCosts costs;
    const std::int64_t layer = *rc::gen::inRange(0, 20);
    const bool uneven = *rc::gen::arbitrary<bool>();
    for (int i = 0; i < modules; ++i) costs.module_ticks.push_back(uneven ? *rc::gen::inRange(0, 1000) : layer);
    costs.module_ticks.front() = *rc::gen::inRange(0, 60);
    costs.module_ticks.back() = *rc::gen::inRange(0, 60);
    if (modules > 1 && *rc::gen::arbitrary<bool>()) share(costs, *rc::gen::inRange(0, 40), {0, modules - 1});
    return costs;
}

/// Anything: small numbers make ties, large ones uneven modules; parameters shared by any modules.
ChainCosts random_chain(int modules) {
    ChainCosts costs;
    const int largest = *rc::gen::element(2, 10, 1000000);
    for (int i = 0; i < modules; ++i) costs.module_ticks.push_back(*rc::gen::inRange(0, largest));
    const int shared = *rc::gen::inRange(0, 3);
    for (int s = 0; s < shared; ++s) {
        std::vector<int> users;
        for (int i = 0; i < modules; ++i) {
            if (*rc::gen::inRange(0, 3) == 0) users.push_back(i);
        }
        share(costs, *rc::gen::inRange(0, largest), std::move(users));
    }
    return costs;
}

TEST(Assignment, SplitIsTheBestOfAllSplitsOnRandomChains) {
    int chains = 0, splits = 0, several_chunks = 0;
    // 100 cases by default, 40 chains each, every way to deal it out to ranks.
    ASSERT_TRUE(rc::check([&] {
        for (int i = 0; i < 40; ++i) {
            const int modules = *rc::gen::inRange(1, 11);
            const ChainCosts costs = i % 2 == 0 ? random_model(modules) : random_chain(modules);
            ++chains;
            for (int stages = 1; stages <= modules; ++stages) {
                for (int chunks = 1; chunks * stages <= modules; ++chunks) {
                    const Split split = cheapest_split(costs, stages, chunks);
                    RC_ASSERT(split.proven);
                    RC_ASSERT(split.first_modules == by_brute_force(costs, stages, chunks));
                    ++splits;
                    several_chunks += stages > 1 && chunks > 1;
                }
            }
        }
    }));
    EXPECT_GE(chains, 4000);
    EXPECT_GT(splits, 40000);
    EXPECT_GT(several_chunks, 10000);
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
    EXPECT_THAT(refusal_of(chain(6, false), options), HasSubstr("leaves chunk 1 (stage 1) without any module"));
    EXPECT_THAT(refusal_of(chain(2, false), options_of({.stages = 3})),
                HasSubstr("parallel.pipeline_parallel_degree is 3, but the model has only 2 layers"));
}

}  // namespace
}  // namespace smp::partition
