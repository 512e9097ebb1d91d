// Shapes by name and from Hugging Face's config.json.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/small_config.h"

namespace smp::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Json preset_config(const Json& preset) {
    Json config = small_config();
    config["model"] = {{"preset", preset}};
    return config;
}

/// 12h² + 13h a layer, (V + n_positions)·h of embeddings, 2h of the last LayerNorm.
double parameters(const models::Gpt2Options& model) {
    const double h = static_cast<double>(model.n_embd);
    return static_cast<double>(model.n_layer) * (12 * h * h + 13 * h) +
           static_cast<double>(model.vocab_size + model.n_positions) * h + 2 * h;
}

TEST(Preset, NamesStandForSizes) {
    const std::vector<std::pair<std::string, double>> sizes = {
        {"gpt2", 124e6},    {"gpt2-medium", 355e6}, {"gpt2-large", 774e6}, {"gpt2-xl", 1558e6},
        {"gpt2-10b", 10e9}, {"gpt2-30b", 30e9},     {"gpt2-60b", 60e9},    {"gpt2-175b", 175e9}};
    EXPECT_EQ(launch::preset_names().size(), sizes.size());
    for (const auto& [name, size] : sizes) {
        const launch::Config config = load(preset_config(name));
        EXPECT_NEAR(parameters(config.gpt2) / size, 1, 0.02)
            << name;  // a size in a name is rounded to two or three digits
        EXPECT_EQ(config.gpt2.n_embd % config.gpt2.n_head, 0);
        EXPECT_EQ(config.gpt2.vocab_size, 50257);
    }
}

TEST(Preset, KeysBesideItOverrideIt) {
    Json config = preset_config("gpt2-xl");
    config["model"]["n_layer"] = 2;
    config["model"]["vocab_size"] = 256;
    const launch::Config loaded = load(config);
    EXPECT_EQ(loaded.gpt2.n_layer, 2);
    EXPECT_EQ(loaded.gpt2.vocab_size, 256);
    EXPECT_EQ(loaded.gpt2.n_embd, 1600);
    EXPECT_EQ(load(config, {"model.preset=gpt2"}).gpt2.n_embd, 768);
    EXPECT_EQ(load(preset_config(nullptr), {"model.preset=gpt2"}).gpt2.n_layer, 12);
}

TEST(Preset, AResolvedConfigurationNeedsItNoMore) {
    const Json written = Json::parse(launch::to_json(load(preset_config("gpt2"))));
    EXPECT_FALSE(written["model"].contains("preset"));
    EXPECT_EQ(load(written).gpt2, load(preset_config("gpt2")).gpt2);
}

/// As published for the smallest GPT-2, with the keys that say nothing about training.
const char* kHuggingFace = R"({
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1,
    "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 64, "n_head": 4,
    "n_layer": 3, "n_positions": 96, "n_inner": null, "resid_pdrop": 0.1, "scale_attn_weights": true, "task_specific_params": {"x": 1}, "vocab_size": 500
})";

TEST(Preset, ReadsAHuggingFaceConfig) {
    const ScratchFolder folder;
    std::filesystem::create_directory(folder / "gpt");
    folder.write("gpt/config.json", kHuggingFace);
    Json config = preset_config("gpt/config.json");
    config["model"]["resid_pdrop"] = 0;
    const launch::Config loaded = launch::load_config(folder.write("job.json", config.dump()), {});
    EXPECT_EQ(loaded.gpt2.n_layer, 3);
    EXPECT_EQ(loaded.gpt2.n_positions, 96);
    EXPECT_EQ(loaded.gpt2.n_inner, 256);
    EXPECT_EQ(loaded.gpt2.embd_pdrop, 0.1);
    EXPECT_EQ(loaded.gpt2.resid_pdrop, 0);
    EXPECT_EQ(launch::load_config(folder / "job.json", {"model.preset=" + (folder / "gpt/config.json").string()}).gpt2,
              loaded.gpt2);
}

TEST(Preset, RefusesArithmeticThatIsNotHere) {
    const ScratchFolder folder;
    Json other = Json::parse(kHuggingFace);
    other["model_type"] = "bert";
    other["scale_attn_by_inverse_layer_idx"] = true;
    other["activation_function"] = "relu";
    other["n_embd"] = "wide";
    const auto file = folder.write("config.json", other.dump());
    const auto problems = problems_of(preset_config(file.string()));
    EXPECT_THAT(keys_of(problems), ::testing::UnorderedElementsAre("model_type", "scale_attn_by_inverse_layer_idx",
                                                                   "activation_function", "n_embd"));
    for (const auto& problem : problems) EXPECT_EQ(problem.origin, file.string());
}

TEST(Preset, WhatIsOverriddenIsNotLookedAt) {
    const ScratchFolder folder;
    Json other = Json::parse(kHuggingFace);
    other["activation_function"] = "relu";
    other["n_embd"] = "wide";
    other["layer_norm_epsilon"] = nullptr;
    other["n_positions"] = 0;
    other.erase("n_head");
    const auto file = folder.write("config.json", other.dump());
    Json config = preset_config(file.string());
    const auto problems = problems_of(config);
    EXPECT_THAT(keys_of(problems), ::testing::UnorderedElementsAre("activation_function", "n_embd",
                                                                   "layer_norm_epsilon", "n_positions", "n_head"));
    for (const auto& problem : problems) EXPECT_EQ(problem.origin, file.string()) << problem.key;
    config["model"].update(Json{{"activation_function", "gelu_new"},
                                {"n_embd", 32},
                                {"layer_norm_epsilon", 1e-5},
                                {"n_positions", 128},
                                {"n_head", 2}});
    EXPECT_EQ(only_problem(problems_of(config)), "0 problems:");
    EXPECT_EQ(load(config).gpt2.n_layer, 3);
    // Null stands for what the preset says, not for a value.
    config["model"]["n_head"] = nullptr;
    EXPECT_THAT(only_problem(problems_of(config)), HasSubstr("n_head is missing"));
    EXPECT_EQ(load(with(preset_config("gpt2"), "model", "n_layer", nullptr)).gpt2.n_layer, 12);
}

TEST(Preset, NamesOfTheTanhFormAreOne) {
    for (const char* name : {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"}) {
        const launch::Config loaded = load(with(small_config(), "model", "activation_function", name));
        EXPECT_EQ(Json::parse(launch::to_json(loaded))["model"]["activation_function"], "gelu_new");
        const ScratchFolder folder;
        Json other = Json::parse(kHuggingFace);
        other["activation_function"] = name;
        EXPECT_EQ(load(preset_config(folder.write("config.json", other.dump()).string())).gpt2.n_layer, 3);
    }
    EXPECT_THAT(only_problem(problems_of(with(small_config(), "model", "activation_function", "gelu"))),
                HasSubstr("must be \"gelu_new\""));
}

TEST(Preset, AFolderIsLookedInto) {
    const ScratchFolder folder;
    folder.write("config.json", kHuggingFace);
    EXPECT_EQ(load(preset_config(folder.path().string())).gpt2.n_layer, 3);
    std::filesystem::remove(folder / "config.json");
    EXPECT_THAT(only_problem(problems_of(preset_config(folder.path().string()))),
                HasSubstr("is a folder without a config.json"));
}

TEST(Preset, UnknownNamesSuggestTheNearestAndNothingElseIsSaid) {
    EXPECT_THAT(only_problem(problems_of(preset_config("gpt2-mediun"))),
                AllOf(HasSubstr("model.preset = \"gpt2-mediun\""), HasSubstr("did you mean gpt2-medium?")));
    EXPECT_THAT(only_problem(problems_of(preset_config(12))), HasSubstr("model.preset = 12"));
}

}  // namespace
}  // namespace smp::testing
