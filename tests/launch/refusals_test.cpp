// What a user reads: file, key, value, what is allowed, what to do; everything that is wrong, once, in one go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/small_config.h"

namespace smp::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Refusals, OneLineSaysAll) {
    const ScratchFolder folder;
    const auto file = folder.write("job.json", with(small_config(), "parallel", "microbatches", 0).dump());
    try {
        launch::load_config(file, {});
        FAIL();
    } catch (const partition::ConfigError& error) {
        EXPECT_EQ(error.what(), file.string() + ": parallel.microbatches = 0: must be from 1 to 16384");
    }
}

TEST(Refusals, AllErrorsOfAFileAtOnce) {
    const Json config = Json::parse(R"({
        "model": {"n_layer": "4", "n_head": 4, "n_embd": 33, "hidden": 1},
        "parallel": {"microbatchs": 2, "microbatches": 3.0, "fp16": 1, "pipeline": "fast"},
        "trainnig": {},
        "training": {"batch_size": 1, "global_batch_size": 2, "beta1": 2, "warmup_steps": 5, "seed": -1},
        "data": "text.txt",
        "logging": {"level": "loud"}
    })");
    EXPECT_THAT(
        keys_of(problems_of(config, {"training.nothing=1", "cluster.nodes=0"})),
        ::testing::UnorderedElementsAre("model.hidden", "parallel.microbatchs", "trainnig", "data", "training.nothing",
                                        "model.n_layer", "parallel.pipeline", "parallel.microbatches", "parallel.fp16",
                                        "training.seed", "logging.level", "training.steps", "training.beta1",
                                        "cluster.nodes", "model.n_embd", "training.batch_size", "data.train"));
}

TEST(Refusals, AMemberOfTheLossScaleIsNamed) {
    const auto message = [](const char* scale) {
        Json config = small_config();
        config["parallel"]["fp16"] = true;
        config["training"]["loss_scale"] = Json::parse(scale);
        const auto problems = problems_of(config);
        return problems.size() == 1 ? problems[0].message : std::string("not one problem");
    };
    EXPECT_THAT(message(R"({"intial": 1024})"), HasSubstr("and has \"intial\""));
    EXPECT_THAT(message(R"({"intial": 1024})"), HasSubstr("did you mean initial?"));
    EXPECT_THAT(message(R"({"minimum": "4"})"), HasSubstr("and its minimum must be an integer"));
}

TEST(Refusals, MissingKeysSayWhatTheyAre) {
    const auto problems = problems_of(Json::object());
    EXPECT_THAT(keys_of(problems), ElementsAre("model.n_layer", "model.n_head", "model.n_embd", "training.steps",
                                               "data.train", "training.global_batch_size"));
    EXPECT_THAT(problems[0].message, HasSubstr("is missing: transformer layers (an integer, from 1"));
    EXPECT_THAT(problems[0].message, HasSubstr("model.preset"));
    EXPECT_THAT(problems[3].message, HasSubstr("is missing: "));
}

TEST(Refusals, ASpoiltValueMakesNoSecondProblem) {
    // Heads that could not be read are not compared with the width or the tensor degree; a batch size that could not be
    // read is not missing.
    Json heads = small_config();
    heads["model"] = {{"n_layer", 4}, {"n_head", "four"}, {"n_embd", 9}};
    heads["parallel"] = {{"tensor_parallel_degree", 3}};
    EXPECT_THAT(keys_of(problems_of(heads)), ElementsAre("model.n_head"));
    Json batch = with(small_config(), "training", "batch_size", "eight");
    batch["training"].erase("global_batch_size");
    EXPECT_THAT(keys_of(problems_of(batch)), ElementsAre("training.batch_size"));
}

TEST(Refusals, UnknownNamesAreLookedForInOtherSectionsToo) {
    EXPECT_THAT(only_problem(problems_of(with(small_config(), "training", "microbatches", 2))),
                HasSubstr("did you mean parallel.microbatches?"));
    Json flat = small_config();
    flat["steps"] = 3;
    EXPECT_THAT(only_problem(problems_of(flat)), HasSubstr("did you mean training.steps?"));
    Json section = small_config();
    section["clusters"] = Json::object();
    EXPECT_THAT(only_problem(problems_of(section)), HasSubstr("did you mean cluster?"));
}

TEST(Refusals, RemediesForSlipsOfNotation) {
    const auto refused = [](const std::string& section, const std::string& key, const Json& value) {
        return only_problem(problems_of(with(small_config(), section, key, value)));
    };
    EXPECT_THAT(refused("parallel", "microbatches", "4"), HasSubstr("; write it without quotes"));
    EXPECT_THAT(refused("training", "steps", 1e3), HasSubstr("; write 1000"));
    EXPECT_THAT(refused("parallel", "prescaled_batch", "true"), HasSubstr("; write it without quotes"));
    EXPECT_THAT(refused("parallel", "microbatches", 3000000000), HasSubstr("from -2147483648 to 2147483647"));
    EXPECT_THAT(refused("data", "order", "random"), HasSubstr("must be \"shuffled\" or \"sequential\""));
}

TEST(Refusals, KeysThatStandTwice) {
    const ScratchFolder folder;
    std::string text = small_config().dump();
    text.insert(1, "\"logging\": {\"every\": 1, \"every\": 2}, ");
    try {
        launch::load_config(folder.write("job.json", text), {});
        FAIL();
    } catch (const partition::ConfigError& error) {
        EXPECT_EQ(only_problem(error.problems()), "logging.every stands twice in the file; keep one of the two");
    }
}

}  // namespace
}  // namespace smp::testing
