// A model comes back from the text that checkpoints keep of it, and from the config.json that is written of it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include "models/gpt2/hugging_face.h"
#include "models/gpt2/options_text.h"

namespace smp::models {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Gpt2Options some_options() {
    using rc::gen::inRange;
    Gpt2Options options;
    options.n_layer = *inRange(1, 4097);
    options.n_head = *inRange(1, 65);
    options.n_embd = options.n_head * *inRange(1, 257);
    options.n_positions = *inRange(1, 1 << 20);
    options.vocab_size = *inRange(1, 1 << 20);
    options.n_inner = *inRange(1, 1 << 20);
    options.layer_norm_epsilon = *inRange(1, 1000) / 7e4;
    options.tie_word_embeddings = *rc::gen::arbitrary<bool>();
    options.embd_pdrop = *inRange(0, 10) / 11.0;
    options.resid_pdrop = *inRange(0, 10) / 11.0;
    options.attn_pdrop = *inRange(0, 10) / 11.0;
    options.initializer_range = *inRange(0, 100) / 3e3;
    return options;
}

std::vector<std::string> problems_of(const std::string& text) {
    std::vector<partition::Problem> problems;
    gpt2_options_in(text, problems);
    std::vector<std::string> shown;
    for (const auto& problem : problems) shown.push_back(problem.key + " " + problem.message);
    return shown;
}

RC_GTEST_PROP(Gpt2Text, SaysTheOptions, ()) {
    const Gpt2Options options = some_options();
    std::vector<partition::Problem> problems;
    RC_ASSERT(gpt2_options_in("data.train=\"x\"\n" + gpt2_text(options) + "training.steps=3\n", problems) == options);
    RC_ASSERT(problems.empty());
    RC_ASSERT(gpt2_disagreements(options, gpt2_config_json(options)).empty());
}

TEST(Gpt2Text, ThatIsNotWholeIsRefused) {
    Gpt2Options options;
    options.n_layer = options.n_head = 2;
    options.n_embd = 8;
    const std::string text = gpt2_text(options);
    EXPECT_THAT(problems_of(text), IsEmpty());
    const auto with = [&](const std::string& line, const std::string& other) {
        std::string changed = text;
        return changed.replace(changed.find(line), line.size(), other);
    };
    EXPECT_THAT(problems_of(with("model.n_head=2\n", "")), ElementsAre("model.n_head is missing"));
    EXPECT_THAT(problems_of(with("model.n_head=2", "model.n_head=2.5")),
                ElementsAre("model.n_head = 2.5: is of another type"));
    EXPECT_THAT(problems_of(with("model.n_head=2", "model.n_head=3")), ::testing::SizeIs(1));
    EXPECT_THAT(problems_of(with("\"gelu_new\"", "\"relu\"")),
                ElementsAre("model.activation_function = \"relu\": must be \"gelu_new\""));
    EXPECT_THAT(problems_of(text + "model.experts=8\n"), ElementsAre("model.experts = 8: is not known here"));
}

TEST(Gpt2ConfigJson, HasGpt2sEndOfTextWhereTheVocabularyIsGpt2s) {
    Gpt2Options options;
    const auto written = [&] { return nlohmann::json::parse(gpt2_config_json(options)); };
    EXPECT_EQ(written()["eos_token_id"], 50256);
    EXPECT_EQ(written()["bos_token_id"], 50256);
    options.vocab_size = 50304;
    EXPECT_TRUE(written()["eos_token_id"].is_null());
    EXPECT_EQ(written()["torch_dtype"], "float32");
}

}  // namespace
}  // namespace smp::models
