#include <stdexcept>

#include <gtest/gtest.h>

#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/gpt2_spec.h"
#include "models/gpt2/gpt2_work.h"

namespace smp::models {
namespace {

Gpt2Options model() {
    Gpt2Options options;
    options.n_layer = 3;
    options.n_head = 4;
    options.n_embd = 32;
    options.n_positions = 16;
    options.vocab_size = 101;
    return options;
}

/// For 2 sequences of 16 tokens.
partition::ModuleGraph graph_of(const Gpt2Options& options, int tensor_degree, ActivationStorage storage = {}) {
    return module_graph(Gpt2(options),
                        {.tensor_degree = tensor_degree, .sequences = 2, .length = 16, .storage = storage});
}

TEST(Gpt2Graph, IsAChainOfModulesWithParameters) {
    const auto graph = graph_of(model(), 1);
    ASSERT_EQ(graph.modules.size(), 5);
    EXPECT_EQ(graph.modules[0].name, "wte");
    EXPECT_EQ(graph.modules[3].name, "h.2");
    EXPECT_EQ(graph.modules[4].name, "lm_head");
    for (const auto& module : graph.modules) EXPECT_EQ(module.is_layer, module.name.starts_with("h."));
    EXPECT_EQ(graph.modules[0].parameter_count, (101 + 16) * 32);
    EXPECT_EQ(graph.modules[1].parameter_count, 12 * 32 * 32 + 13 * 32);
    EXPECT_EQ(graph.modules[4].parameter_count, 101 * 32 + 2 * 32);
    EXPECT_EQ(graph.modules[0].output_bytes, 2 * 16 * 32 * 4);
    EXPECT_EQ(graph.modules[4].output_bytes, 0);
}

TEST(Gpt2Graph, TiedEmbeddingIsShared) {
    const auto graph = graph_of(model(), 2);
    ASSERT_EQ(graph.shared.size(), 1);
    EXPECT_EQ(graph.shared[0].name, "wte.weight");
    EXPECT_EQ(graph.shared[0].parameter_count, 51 * 32);  // 102 rows over two ranks
    EXPECT_EQ(graph.shared[0].modules, (std::vector<int>{0, 4}));
    Gpt2Options untied = model();
    untied.tie_word_embeddings = false;
    EXPECT_TRUE(graph_of(untied, 2).shared.empty());
}

// 6 FLOPs for each weight of a matrix product and token, and 12·L·h·s for attention. All are whole numbers in fp64.
TEST(Gpt2Graph, FlopsAreThoseOfTheFormula) {
    const double tokens = 2 * 16, h = 32, layers = 3;
    const double weights = layers * 12 * h * h + 101 * h;
    double total = 0;
    for (const auto& module : graph_of(model(), 1).modules) total += module.forward_flops + module.backward_flops;
    EXPECT_EQ(total, tokens * (6 * weights + 12 * layers * h * 16));

    const auto layer = graph_of(model(), 1).modules[1];
    EXPECT_EQ(layer.forward_flops, tokens * (24 * h * h + 4 * h * 16));
    EXPECT_EQ(layer.backward_flops, 2 * layer.forward_flops);
    EXPECT_EQ(layer.weight_flops, tokens * 24 * h * h);
}

TEST(Gpt2Graph, HeadComputesInItsBackwardInput) {
    const auto head = graph_of(model(), 1).modules.back();
    EXPECT_EQ(head.forward_flops, 0);
    EXPECT_EQ(head.backward_flops, 2 * 16 * 6.0 * 101 * 32);
    EXPECT_EQ(head.weight_flops, 0);
}

TEST(Gpt2Graph, TensorRanksShareTheWork) {
    const auto one = graph_of(model(), 1), four = graph_of(model(), 4);
    EXPECT_EQ(four.modules[1].forward_flops * 4, one.modules[1].forward_flops);
    EXPECT_EQ(four.modules[4].backward_flops * 4 / 104,
              one.modules[4].backward_flops / 101);  // 101 rows, padded to 104
    EXPECT_EQ(four.modules[1].output_bytes, one.modules[1].output_bytes);
    // ln_1, middle, ln_2 are whole on every rank (and 4 statistics of them); qkv, attended, two of the MLP are
    // shared.
    const std::int64_t rows = 2 * 16, h = 32;
    EXPECT_EQ(one.modules[1].stash_bytes, 4 * rows * (3 * h + 4 + 4 * h + 8 * h + 4));
    EXPECT_EQ(four.modules[1].stash_bytes, 4 * rows * (3 * h + 4 + (4 * h + 8 * h + 4) / 4));
    EXPECT_EQ(one.modules[1].deferred_bytes, 4 * rows * (4 * h + 4 * h + 8 * h));
    EXPECT_EQ(four.modules[1].deferred_bytes, 4 * rows * (4 * h + (4 * h + 8 * h) / 4));
}

// With optimize = memory what was whole on every rank is shared too: the ranks' bytes add up to those of one rank.
TEST(Gpt2Graph, ForMemoryTensorRanksShareEverythingThatIsKept) {
    for (const auto precision : {partition::Precision::fp32, partition::Precision::bf16}) {
        const ActivationStorage speed{.precision = precision};
        const ActivationStorage memory{.optimize = partition::Optimize::memory, .precision = precision};
        const auto one = graph_of(model(), 1, speed), four = graph_of(model(), 4, memory);
        for (std::size_t i = 0; i < one.modules.size(); ++i) {
            EXPECT_EQ(four.modules[i].stash_bytes * 4, one.modules[i].stash_bytes) << one.modules[i].name;
            EXPECT_EQ(four.modules[i].deferred_bytes * 4, one.modules[i].deferred_bytes) << one.modules[i].name;
            EXPECT_EQ(four.modules[i].output_bytes * 4, one.modules[i].output_bytes) << one.modules[i].name;
            EXPECT_EQ(four.modules[i].forward_flops, graph_of(model(), 4).modules[i].forward_flops);
        }
        const auto alone = graph_of(model(), 1, memory);
        EXPECT_EQ(alone.modules[1].stash_bytes, one.modules[1].stash_bytes);
        EXPECT_EQ(alone.modules[1].output_bytes, one.modules[1].output_bytes);
    }
}

// Of the 15 h a row that a layer keeps, two LayerNorms' outputs are 2 h and GELU's is 4 h.
TEST(Gpt2Graph, WhatIsCheapToComputeNeedNotBeKept) {
    const std::int64_t rows = 2 * 16, h = 32;
    const auto all = graph_of(model(), 1), some = graph_of(model(), 1, {.recomputes_cheap = true});
    EXPECT_EQ(all.modules[1].stash_bytes - some.modules[1].stash_bytes, 4 * rows * 6 * h);
    EXPECT_EQ(some.modules[1].stash_bytes, 4 * rows * (9 * h + 4 + 4));
    EXPECT_EQ(some.modules[1].deferred_bytes, all.modules[1].deferred_bytes);
    EXPECT_EQ(some.modules[4].stash_bytes, 4 * rows * 2);
}

// Statistics of the LayerNorms, attention's log-sum-exp and logits stay in fp32.
TEST(Gpt2Graph, SixteenBitsHalveWhatIsKeptAndHandedOn) {
    const std::int64_t rows = 2 * 16, h = 32;
    const auto wide = graph_of(model(), 1);
    for (const auto precision : {partition::Precision::bf16, partition::Precision::fp16}) {
        const auto graph = graph_of(model(), 1, {.precision = precision});
        EXPECT_EQ(graph.precision, precision);
        EXPECT_EQ(graph.modules[1].stash_bytes, rows * (2 * (3 * h + 4 * h + 8 * h) + 4 * (4 + 4)));
        EXPECT_EQ(graph.modules[1].deferred_bytes, 2 * rows * (4 * h + 4 * h + 8 * h));
        EXPECT_EQ(graph.modules[1].output_bytes, 2 * rows * h);
        EXPECT_EQ(graph.modules[4].stash_bytes, rows * (2 * h + 4 * 2));
        EXPECT_EQ(graph.modules[4].logits_bytes, wide.modules[4].logits_bytes);
    }
}

TEST(Gpt2Graph, ModelFlopsCountAllParameters) {
    const Gpt2Options options = model();
    EXPECT_EQ(model_flops_per_token(options, 16),
              6.0 * static_cast<double>(parameter_count(Gpt2(options))) + 12 * 3 * 32 * 16);
}

}  // namespace
}  // namespace smp::models
