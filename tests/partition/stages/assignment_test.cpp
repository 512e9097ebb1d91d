#include "partition/stages/assignment.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "partition/job/problem.h"
#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

using ::testing::AllOf;
using testing::chain;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
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
    // 100 cases by default, 40 chains each, every way to deal it out to ranks. Now and then a longer chain.
    ASSERT_TRUE(rc::check([&] {
        for (int i = 0; i < 40; ++i) {
            const int modules = i < 38 ? *rc::gen::inRange(1, 11) : *rc::gen::inRange(11, 14);
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
    EXPECT_GT(splits, 20000);
    EXPECT_GT(several_chunks, 3000);
}

/// An embedding, layers that all cost 1000, a head.
struct EvenModel {
    int layers = 0;
    std::int64_t embedding = 0, head = 0;
};

constexpr std::int64_t kLayer = 1000;

ChainCosts costs_of(const EvenModel& model) {
    ChainCosts costs;
    costs.module_ticks.assign(static_cast<std::size_t>(model.layers) + 2, kLayer);
    costs.module_ticks.front() = model.embedding;
    costs.module_ticks.back() = model.head;
    return costs;
}

/// The least costs, without a search. Layers that cost the same are interchangeable, so a split is how many each chunk
/// has; a limit holds if there is room for all, and layers one by one on the cheapest chunk that has room make the
/// least squares (the limits are those of sets within sets). For two stages or more.
Quality quality_of_even(const EvenModel& model, int stages, int chunks_per_stage) {
    const int chunks = stages * chunks_per_stage;
    std::vector<std::int64_t> chunk(static_cast<std::size_t>(chunks), kLayer);
    chunk.front() = model.embedding;
    chunk.back() = model.head;
    const int layers = model.layers - (chunks - 2);
    const auto rank_of = [&](std::size_t i) { return i % static_cast<std::size_t>(stages); };
    std::vector<std::int64_t> rank(static_cast<std::size_t>(stages), 0);
    for (std::size_t i = 0; i < chunk.size(); ++i) rank[rank_of(i)] += chunk[i];

    const auto has_room = [&](std::int64_t chunk_limit, std::int64_t rank_limit) {
        if (*std::max_element(chunk.begin(), chunk.end()) > chunk_limit) return false;
        if (*std::max_element(rank.begin(), rank.end()) > rank_limit) return false;
        std::vector<std::int64_t> room(rank.size(), 0);
        for (std::size_t i = 0; i < chunk.size(); ++i) room[rank_of(i)] += (chunk_limit - chunk[i]) / kLayer;
        std::int64_t all = 0;
        for (std::size_t r = 0; r < rank.size(); ++r) all += std::min(room[r], (rank_limit - rank[r]) / kLayer);
        return all >= layers;
    };
    Quality quality;
    const std::int64_t whole = model.embedding + model.head + model.layers * kLayer;
    while (!has_room(quality.largest_chunk, whole)) ++quality.largest_chunk;
    while (!has_room(quality.largest_chunk, quality.largest_rank)) ++quality.largest_rank;
    for (int layer = 0; layer < layers; ++layer) {
        std::size_t cheapest = chunk.size();
        for (std::size_t i = 0; i < chunk.size(); ++i) {
            if (chunk[i] + kLayer > quality.largest_chunk) continue;
            if (rank[rank_of(i)] + kLayer > quality.largest_rank) continue;
            if (cheapest == chunk.size() || chunk[i] < chunk[cheapest]) cheapest = i;
        }
        chunk[cheapest] += kLayer;
        rank[rank_of(cheapest)] += kLayer;
    }
    for (const std::int64_t ticks : chunk) quality.squares += static_cast<__int128>(ticks) * ticks;
    return quality;
}

TEST(Assignment, SplitOfEvenLayersIsTheBestAndProvenForAllUsualSizes) {
    int splits = 0;
    for (const int layers : {6, 12, 24, 36, 48, 96, 128}) {
        for (const int stages : {2, 3, 4, 6, 8, 12, 16, 32, 64}) {
            for (int chunks = 1; chunks <= 4 && stages * chunks <= layers; ++chunks) {
                for (const auto& [embedding, head] : {std::pair{0, 0}, {100, 150}, {4300, 5600}, {3700, 9200}}) {
                    const EvenModel model{.layers = layers, .embedding = embedding, .head = head};
                    const Split split = cheapest_split(costs_of(model), stages, chunks);
                    const std::string what =
                        fmt::format("{} layers, {} and {}, {} times {}", layers, embedding, head, stages, chunks);
                    ASSERT_EQ(split.first_modules.size(), static_cast<std::size_t>(stages * chunks)) << what;
                    Quality found = quality_of(costs_of(model), split.first_modules, stages);
                    found.cuts.clear();
                    ASSERT_TRUE(split.proven) << what;
                    ASSERT_EQ(found.key(), quality_of_even(model, stages, chunks).key()) << what;
                    ++splits;
                }
            }
        }
    }
    EXPECT_GT(splits, 600);
}

/// The search ends for what it cannot prove too. Layers up to three times as dear as others are proven at these sizes;
/// with an embedding and a head that cost several of them the largest chunk bounds little, and it is cut off.
TEST(Assignment, SplitOfUnevenLayersEndsAndIsTheSameEachTime) {
    std::mt19937 random(4);
    for (const auto& [stages, chunks, modules] : {std::tuple{64, 2, 130}, {8, 4, 50}, {16, 3, 98}, {4, 2, 50}}) {
        for (const int ends : {1, 5}) {
            int proven = 0;
            for (int repetition = 0; repetition < 5; ++repetition) {
                ChainCosts costs;
                for (int m = 0; m < modules; ++m) costs.module_ticks.push_back(5'000'000 + random() % 10'000'000);
                costs.module_ticks.front() *= ends;
                costs.module_ticks.back() *= ends;
                const Split split = cheapest_split(costs, stages, chunks);
                proven += split.proven;
                const Split again = cheapest_split(costs, stages, chunks);
                ASSERT_EQ(split.first_modules, again.first_modules);
                ASSERT_EQ(split.proven, again.proven);
                // Largest chunk: as if each had a stage of its own, which needs no search.
                const Split apart = cheapest_split(costs, stages * chunks, 1);
                ASSERT_TRUE(apart.proven);
                ASSERT_EQ(quality_of(costs, split.first_modules, stages).largest_chunk,
                          quality_of(costs, apart.first_modules, stages * chunks).largest_chunk);
            }
            if (ends == 1) {
                EXPECT_EQ(proven, 5) << stages << " times " << chunks;
            }
        }
    }
}

/// Costs in other units are the same costs, whatever divisor they share: neither the split nor the work to find it
/// changes (a search that counts in common divisors of 2 would not end within the test's time).
TEST(Assignment, SplitDoesNotDependOnTheUnitOfCosts) {
    std::mt19937 random(5);
    for (const auto& [stages, chunks, modules] : {std::tuple{2, 3, 9}, {3, 2, 12}, {8, 4, 50}, {16, 3, 98}}) {
        ChainCosts costs;
        for (int m = 0; m < modules; ++m) costs.module_ticks.push_back(5'000'000 + random() % 10'000'000);
        const Split split = cheapest_split(costs, stages, chunks);
        ASSERT_TRUE(split.proven);
        for (const int unit : {2, 3, 10, 64}) {
            ChainCosts scaled = costs;
            for (std::int64_t& ticks : scaled.module_ticks) ticks *= unit;
            const Split again = cheapest_split(scaled, stages, chunks);
            EXPECT_TRUE(again.proven);
            EXPECT_EQ(again.first_modules, split.first_modules) << stages << " times " << chunks << ", unit " << unit;
        }
    }
}

TEST(Assignment, RankPaysOnceForAParameterInSeveralOfItsChunks) {
    ChainCosts costs{.module_ticks = {10, 20, 30, 40}, .shared = {{.ticks = 7, .modules = {0, 2}}}};
    EXPECT_THAT(rank_ticks(costs, {0, 1, 2, 3}, 2), ElementsAre(33, 60));
    EXPECT_THAT(rank_ticks(costs, {0, 1, 2, 3}, 4), ElementsAre(10, 20, 30, 40));
    EXPECT_THAT(rank_ticks(costs, {0, 3}, 2), ElementsAre(53, 40));
}

TEST(Assignment, ChainCostsAreSharesOfTheWholeChain) {
    const ModuleGraph graph = chain(5, false);
    for (const int checkpointed_layers : {0, 1, 2}) {
        const auto memory_of = [&](std::size_t i) {
            const Module& m = graph.modules[i];
            const double input = i == 0 ? 0 : static_cast<double>(graph.modules[i - 1].output_bytes);
            const double kept =
                checkpointed_layers == 0 ? input + static_cast<double>(m.stash_bytes) : input / checkpointed_layers;
            return 16.0 * static_cast<double>(m.parameter_count) + 3.0 * kept;
        };
        const auto compute_of = [&](const Module& m) {
            return (checkpointed_layers == 0 ? 1 : 2) * m.forward_flops + m.backward_flops;
        };
        double memory = 0, compute = 0;
        for (std::size_t i = 0; i < graph.modules.size(); ++i) {
            memory += memory_of(i);
            compute += compute_of(graph.modules[i]);
        }
        for (const double weight : {0.0, 0.3, 0.8, 1.0}) {
            const ChainCosts costs = chain_costs(graph, weight, 3, checkpointed_layers);
            for (std::size_t i = 0; i < graph.modules.size(); ++i) {
                const double expected =
                    1e9 * (weight * memory_of(i) / memory + (1 - weight) * compute_of(graph.modules[i]) / compute);
                // Each of the two shares is rounded down to a tick.
                EXPECT_NEAR(static_cast<double>(costs.module_ticks[i]), expected, 2.01) << i;
            }
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
    const Chunks chunks = assign_stages(graph, options);
    ASSERT_EQ(chunks.size(), 4u);
    EXPECT_LT(chunks[ChunkId(3)].end_module - chunks[ChunkId(3)].first_module,
              chunks[ChunkId(1)].end_module - chunks[ChunkId(1)].first_module);
    EXPECT_EQ(chunks[ChunkId(0)].first_module, 0);
    EXPECT_EQ(chunks[ChunkId(3)].end_module, 14);
    for (int stage = 0; stage < 4; ++stage) EXPECT_EQ(chunks[ChunkId(stage)].stage, StageId(stage));
}

TEST(Assignment, ByHandGivesEmbeddingToTheFirstAndHeadToTheLastStage) {
    ParallelOptions options = options_by_hand({1, 3, 2}, 1);
    EXPECT_THAT(assign_stages(chain(6, false), options),
                ElementsAre(Chunk{StageId(0), 0, 2}, Chunk{StageId(1), 2, 5}, Chunk{StageId(2), 5, 8}));
    options.stage_layers = {0, 6, 0};
    EXPECT_THAT(assign_stages(chain(6, false), options),
                ElementsAre(Chunk{StageId(0), 0, 1}, Chunk{StageId(1), 1, 7}, Chunk{StageId(2), 7, 8}));
}

TEST(Assignment, ChunksAreDealtOutToStagesInTurn) {
    ParallelOptions options = options_of({.stages = 2, .microbatches = 4, .chunks_per_stage = 3});
    const Chunks chunks = assign_stages(chain(9, true), options);
    ASSERT_EQ(chunks.size(), 6u);
    for (int i = 0; i < 6; ++i) {
        const Chunk& chunk = chunks[ChunkId(i)];
        EXPECT_EQ(chunk.stage, StageId(i % 2));
        EXPECT_EQ(chunk.first_module, i == 0 ? 0 : chunks[ChunkId(i - 1)].end_module);
        EXPECT_GT(chunk.end_module, chunk.first_module);
    }
    EXPECT_EQ(chunks.back().end_module, 11);

    options.auto_partition = false;
    options.stage_layers = {0, 2, 1, 3, 2, 1};
    EXPECT_THAT(assign_stages(chain(9, true), options),
                ElementsAre(Chunk{StageId(0), 0, 1}, Chunk{StageId(1), 1, 3}, Chunk{StageId(0), 3, 4},
                            Chunk{StageId(1), 4, 7}, Chunk{StageId(0), 7, 9}, Chunk{StageId(1), 9, 11}));
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

TEST(Assignment, RefusesMoreChunksThanLayersByTheLargestDegreeThatWorks) {
    const auto degrees = [](int stages, int chunks) {
        return options_of({.stages = stages, .chunks_per_stage = chunks});
    };
    EXPECT_THAT(refusal_of(chain(7, false), degrees(2, 4)),
                AllOf(HasSubstr("parallel.virtual_pipeline_degree is 4, which with 2 stages makes 8 chunks, but the "
                                "model has only 7 layers; use at most 3 chunks a stage"),
                      Not(HasSubstr("pipeline_parallel_degree"))));
    EXPECT_EQ(assign_stages(chain(7, false), degrees(2, 3)).size(), 6u);
    // No number of chunks helps if there are not layers enough for the stages.
    EXPECT_THAT(refusal_of(chain(2, false), degrees(3, 2)),
                AllOf(HasSubstr("parallel.pipeline_parallel_degree is 3, but the model has only 2 layers"),
                      Not(HasSubstr("virtual_pipeline_degree"))));
}

TEST(Assignment, RefusesLayersOfChunksThatDoNotAddUp) {
    ParallelOptions options = options_of({.stages = 2, .chunks_per_stage = 2});
    options.auto_partition = false;
    options.stage_layers = {3, 3};
    EXPECT_THAT(refusal_of(chain(6, false), options),
                HasSubstr("parallel.stage_layers is [3, 3], which has 2 entries; with pipeline_parallel_degree 2 and "
                          "virtual_pipeline_degree 2 it needs 4"));
    options.stage_layers = {1, 2, 3, 1};
    EXPECT_THAT(refusal_of(chain(6, false), options), HasSubstr("adds up to 7 layers, but the model has 6"));
    options.stage_layers = {3, 0, 0, 3};
    EXPECT_THAT(refusal_of(chain(6, false), options), AllOf(HasSubstr("leaves chunk 1 (stage 1) without any module"),
                                                            HasSubstr("leaves chunk 2 (stage 0) without any module")));
}

}  // namespace
}  // namespace smp::partition
