// If these fail, a checkpoint has an element twice or not at all, or a rank reads another's.
#include "runtime/state/holdings.h"

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/gpt2/gpt2_spec.h"
#include "runtime/state/stage_layout.h"

namespace smp::runtime {
namespace {

struct Layout {
    models::Gpt2 model{{}};
    partition::Plan plan;
    partition::Precision precision = partition::Precision::fp32;
    std::string name;
};

/// Vocabulary and MLP seldom divide by the tensor degree, so there is padding.
Layout random_layout(std::mt19937& random) {
    const auto draw = [&](int first, int last) { return std::uniform_int_distribution<int>(first, last)(random); };
    Layout layout;
    models::Gpt2Options model;
    model.n_layer = draw(6, 7);
    model.n_head = 6;
    model.n_embd = 6 * draw(1, 6);
    model.n_positions = draw(3, 40);
    model.vocab_size = draw(20, 90);
    model.n_inner = draw(1, 100);
    model.tie_word_embeddings = draw(0, 1) == 1;
    partition::ParallelOptions parallel;
    const partition::Degrees degrees{.pp = draw(1, 3), .tp = draw(1, 3), .rdp = draw(1, 4)};
    parallel.pipeline_parallel_degree = degrees.pp;
    parallel.tensor_parallel_degree = degrees.tp;
    parallel.virtual_pipeline_degree = draw(1, 2);
    parallel.microbatches = 6;
    parallel.shard_optimizer_state = draw(0, 1) == 1;
    parallel.placement_strategy = draw(0, 1) == 1 ? "cluster" : "spread";
    parallel.memory_weight = draw(0, 10) / 10.0;
    layout.precision = draw(0, 1) == 1 ? partition::Precision::bf16 : partition::Precision::fp32;
    layout.model = models::Gpt2(model);
    layout.plan = partition::make_plan(models::module_graph(layout.model, {.tensor_degree = degrees.tp,
                                                                           .sequences = 1,
                                                                           .length = model.n_positions,
                                                                           .storage = {.precision = layout.precision}}),
                                       parallel, degrees, 1);
    layout.name =
        fmt::format("pp {}, tp {}, rdp {}, {} chunks a stage, {}{}, {}, h {}, V {}, inner {}", degrees.pp, degrees.tp,
                    degrees.rdp, parallel.virtual_pipeline_degree, parallel.shard_optimizer_state ? "sharded, " : "",
                    model.tie_word_embeddings ? "tied" : "untied", parallel.placement_strategy, model.n_embd,
                    *model.n_inner, model.vocab_size);
    return layout;
}

/// Elements of each tensor of the model.
std::map<std::string, std::int64_t> tensors_of(const models::ModelSpec& model) {
    std::map<std::string, std::int64_t> sizes;
    for (int module = 0; module < model.module_count(); ++module)
        for (const models::Parameter& parameter : model.parameters(module, 1, 0))
            if (parameter.tied_to.empty()) sizes[parameter.name] = parameter.slice.global_numel();
    return sizes;
}

std::vector<Held> kinds_of(partition::Precision precision) {
    if (precision == partition::Precision::fp32) return {Held::value, Held::first_moment, Held::second_moment};
    return {Held::value, Held::master, Held::first_moment, Held::second_moment};
}

class Holdings : public ::testing::Test {
  protected:
    std::mt19937 random_{20};
};

TEST_F(Holdings, EveryElementHasOneOwner) {
    for (int round = 0; round < 60; ++round) {
        const Layout layout = random_layout(random_);
        SCOPED_TRACE(layout.name);
        std::map<std::pair<std::string, Held>, std::vector<int>> owners;
        for (const auto& [tensor, elements] : tensors_of(layout.model))
            for (const Held kind : kinds_of(layout.precision)) owners[{tensor, kind}].assign(elements, 0);
        for (int rank = 0; rank < layout.plan.topology.degrees.world(); ++rank) {
            for (const Shard& shard : holdings(layout.plan, layout.model, layout.precision, rank)) {
                if (!shard.is_owner) continue;
                const auto counts = owners.find({shard.tensor, shard.kind});
                ASSERT_NE(counts, owners.end()) << shard.tensor;
                for (const ShardRun& run : runs_of(shard))
                    for (auto i = run.global; i < run.global + run.count; ++i) ++counts->second.at(i);
            }
        }
        for (const auto& [what, counts] : owners)
            for (std::size_t i = 0; i < counts.size(); ++i)
                ASSERT_EQ(counts[i], 1) << partition::word_of(what.second) << " of " << what.first << " at " << i;
    }
}

// Else something is read into a place twice, or a parameter stays as it was.
TEST_F(Holdings, ShardsOfARankFillItsBuffersWithoutOverlap) {
    for (int round = 0; round < 60; ++round) {
        const Layout layout = random_layout(random_);
        SCOPED_TRACE(layout.name);
        for (int rank = 0; rank < layout.plan.topology.degrees.world(); ++rank) {
            const auto at = partition::coordinate_of(layout.plan.topology, rank);
            const StageLayout stage = stage_layout(layout.plan, layout.model, layout.precision, at);
            const bool sharded = layout.plan.shard_optimizer_state;
            std::map<Held, std::vector<int>> writes;
            for (const Held kind : kinds_of(layout.precision)) writes[kind].assign(stage.flat.elements, 0);
            std::map<Held, std::int64_t> elements;
            for (const Shard& shard : holdings(layout.plan, layout.model, layout.precision, rank)) {
                ASSERT_EQ(shard.place.size(), shard.of_slice.size());
                for (auto i = shard.place.begin; i < shard.place.end; ++i) ++writes.at(shard.kind).at(i);
                elements[shard.kind] += shard.place.size();
                for (const ShardRun& run : runs_of(shard)) {
                    ASSERT_GE(run.place, shard.place.begin);
                    ASSERT_LE(run.place + run.count, shard.place.end);
                }
            }
            for (const auto& [kind, counts] : writes)
                for (const int count : counts) ASSERT_LE(count, 1) << partition::word_of(kind);
            std::int64_t parameters = 0, updated = 0;
            for (std::size_t i = 0; i < stage.flat.places.size(); ++i) {
                if (stage.flat.partner[i] >= 0) continue;
                parameters += stage.flat.places[i].size();
                for (const Range& range : updated_ranges(stage.flat, at.rdp, sharded))
                    updated += intersection(stage.flat.places[i], range).size();
            }
            EXPECT_EQ(elements[Held::value], parameters);
            EXPECT_EQ(elements[Held::first_moment], updated);
            EXPECT_EQ(elements[Held::second_moment], updated);
        }
    }
}

TEST_F(Holdings, OneTensorIsWhatAllHaveOfIt) {
    const Layout layout = random_layout(random_);
    SCOPED_TRACE(layout.name);
    for (int rank = 0; rank < layout.plan.topology.degrees.world(); ++rank) {
        const auto all = holdings(layout.plan, layout.model, layout.precision, rank);
        const auto one = holdings(layout.plan, layout.model, layout.precision, rank, "wte.weight");
        std::size_t next = 0;
        for (const Shard& shard : all) {
            if (shard.tensor != "wte.weight") continue;
            ASSERT_LT(next, one.size());
            EXPECT_EQ(one[next].place, shard.place);
            EXPECT_EQ(one[next++].kind, shard.kind);
        }
        EXPECT_EQ(next, one.size());
    }
}

}  // namespace
}  // namespace smp::runtime
