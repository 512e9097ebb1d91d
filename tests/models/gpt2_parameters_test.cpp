#include "models/gpt2/gpt2_parameters.h"

#include <cmath>
#include <map>
#include <set>
#include <stdexcept>

#include <gtest/gtest.h>

#include "models/gpt2/gpt2_spec.h"
#include "tests/models/safetensors_reader.h"

namespace smp::models {
namespace {

Gpt2Options gpt2_small() {
    Gpt2Options options;
    options.n_layer = 12;
    options.n_head = 12;
    options.n_embd = 768;
    return options;
}

Gpt2Options awkward() {
    Gpt2Options options;
    options.n_layer = 2;
    options.n_head = 12;
    options.n_embd = 24;
    options.n_positions = 5;
    options.vocab_size = 5;
    options.n_inner = 10;
    return options;
}

TEST(Gpt2Parameters, CountsAsPublished) {
    EXPECT_EQ(parameter_count(Gpt2(gpt2_small())), 124439808);  // "124M"
    Gpt2Options untied = gpt2_small();
    untied.tie_word_embeddings = false;
    EXPECT_EQ(parameter_count(Gpt2(untied)), 124439808 + 50257 * 768);
}

TEST(Gpt2Parameters, HaveHuggingFacesNamesAndShapes) {
    for (const char* name : {"tiny", "odd", "untied"}) {
        const auto golden = testing::golden_case(name);
        std::map<std::string, std::vector<std::int64_t>> ours, theirs;
        for (const auto& module : gpt2_parameters(golden.options, 1, 0))
            for (const Parameter& parameter : module)
                if (parameter.tied_to.empty()) ours[parameter.name] = parameter.global_shape;
        for (const auto& [key, tensor] : golden.weights) theirs[key] = tensor.sizes().vec();
        EXPECT_EQ(ours, theirs);
    }
}

TEST(Gpt2Parameters, ModulesAreInOrderOfExecution) {
    const auto modules = gpt2_parameters(awkward(), 1, 0);
    ASSERT_EQ(modules.size(), 4);
    EXPECT_EQ(gpt2_module_count(awkward()), 4);
    EXPECT_EQ(gpt2_module_name(awkward(), 0), "wte");
    EXPECT_EQ(gpt2_module_name(awkward(), 2), "h.1");
    EXPECT_EQ(gpt2_module_name(awkward(), 3), "lm_head");
    EXPECT_EQ(modules[0][0].name, "wte.weight");
    EXPECT_EQ(modules[2][0].name, "h.1.ln_1.weight");
    EXPECT_EQ(modules[3].back().name, "lm_head.weight");
    EXPECT_EQ(modules[3].back().tied_to, "wte.weight");
}

TEST(Gpt2Parameters, ShardsCoverEachElementOnceInEveryDegree) {
    for (const int degree : {1, 2, 3, 4, 6, 12}) {
        std::map<std::string, std::vector<int>> holders;
        for (int rank = 0; rank < degree; ++rank) {
            for (const auto& module : gpt2_parameters(awkward(), degree, rank)) {
                for (const Parameter& parameter : module) {
                    std::int64_t local = 1, global = 1;
                    for (const std::int64_t size : parameter.local_shape) local *= size;
                    for (const std::int64_t size : parameter.global_shape) global *= size;
                    EXPECT_EQ(parameter.slice.local_numel(), local) << parameter.name;
                    EXPECT_EQ(parameter.slice.global_numel(), global) << parameter.name;
                    auto& held = holders[parameter.name];
                    held.resize(global);
                    for (std::int64_t i = 0; i < local; ++i)
                        if (const std::int64_t element = parameter.slice.global_index(i); element >= 0) ++held[element];
                }
            }
        }
        for (const auto& module : gpt2_parameters(awkward(), degree, 0))
            for (const Parameter& parameter : module)
                EXPECT_EQ(holders[parameter.name],
                          std::vector<int>(holders[parameter.name].size(), parameter.sharded ? 1 : degree))
                    << parameter.name << " over " << degree;
    }
}

TEST(Gpt2Parameters, AreCutByHeadsColumnsRowsAndVocabulary) {
    std::map<std::string, Parameter> second;
    for (const auto& module : gpt2_parameters(awkward(), 3, 1))
        for (const Parameter& parameter : module) second[parameter.name] = parameter;
    using Shape = std::vector<std::int64_t>;
    EXPECT_EQ(second.at("wte.weight").local_shape, (Shape{2, 24}));  // 5 rows, padded to 6
    EXPECT_EQ(second.at("wpe.weight").local_shape, (Shape{5, 24}));
    EXPECT_EQ(second.at("h.0.attn.c_attn.weight").local_shape, (Shape{24, 24}));
    EXPECT_EQ(second.at("h.0.attn.c_attn.bias").local_shape, (Shape{24}));
    EXPECT_EQ(second.at("h.0.attn.c_proj.weight").local_shape, (Shape{8, 24}));
    EXPECT_EQ(second.at("h.0.attn.c_proj.bias").local_shape, (Shape{24}));
    EXPECT_EQ(second.at("h.0.mlp.c_fc.weight").local_shape, (Shape{24, 4}));  // 10 columns, padded to 12
    EXPECT_EQ(second.at("h.0.mlp.c_fc.bias").local_shape, (Shape{4}));
    EXPECT_EQ(second.at("h.0.mlp.c_proj.weight").local_shape, (Shape{4, 24}));
    EXPECT_EQ(second.at("lm_head.weight").slice, second.at("wte.weight").slice);
    const std::set<std::string> whole{"wpe.weight",      "ln_f.weight",   "ln_f.bias",
                                      "h.0.ln_1.weight", "h.0.ln_1.bias", "h.0.attn.c_proj.bias",
                                      "h.0.ln_2.weight", "h.0.ln_2.bias", "h.0.mlp.c_proj.bias"};
    for (const auto& [name, parameter] : second)
        if (!name.starts_with("h.1")) {
            EXPECT_EQ(parameter.sharded, !whole.contains(name)) << name;
        }
}

TEST(Gpt2Parameters, StartAsHuggingFaceStartsThem) {
    for (const auto& module : gpt2_parameters(gpt2_small(), 1, 0)) {
        for (const Parameter& parameter : module) {
            const bool gain = parameter.name.find("ln_") != std::string::npos && parameter.name.ends_with("weight");
            const bool projection = parameter.name.ends_with("c_proj.weight");
            const Initialisation& how = parameter.initialisation;
            EXPECT_EQ(parameter.decays, parameter.global_shape.size() == 2) << parameter.name;
            if (parameter.name.ends_with("bias"))
                EXPECT_EQ(how.start, Start::zeros) << parameter.name;
            else if (gain)
                EXPECT_EQ(how.start, Start::ones) << parameter.name;
            else
                EXPECT_DOUBLE_EQ(how.standard_deviation, projection ? 0.02 / std::sqrt(24) : 0.02) << parameter.name;
        }
    }
}

TEST(Gpt2Parameters, RefusesHeadsThatDoNotDivide) {
    EXPECT_THROW(gpt2_parameters(awkward(), 5, 0), std::logic_error);
    EXPECT_THROW(gpt2_parameters(awkward(), 2, 2), std::logic_error);
}

}  // namespace
}  // namespace smp::models
