// Defaults, what is left open and filled in, overrides, paths.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/small_config.h"

namespace smp::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(LoadConfig, DefaultsAreThoseOfTheInterface) {
    const launch::Config config = load(small_config());
    EXPECT_EQ(config.gpt2.n_positions, 1024);
    EXPECT_EQ(config.gpt2.vocab_size, 50257);
    EXPECT_EQ(config.gpt2.n_inner, 128);
    EXPECT_EQ(config.gpt2.layer_norm_epsilon, 1e-5);
    EXPECT_TRUE(config.gpt2.tie_word_embeddings);
    EXPECT_EQ(config.gpt2.embd_pdrop + config.gpt2.resid_pdrop + config.gpt2.attn_pdrop, 0);
    EXPECT_EQ(config.gpt2.initializer_range, 0.02);
    EXPECT_EQ(config.parallel.pipeline, partition::PipelineSchedule::interleaved);
    EXPECT_EQ(config.parallel.placement_strategy, "cluster");
    EXPECT_EQ(config.parallel.memory_weight, 0.2);
    EXPECT_EQ(load(with(small_config(), "parallel", "optimize", "memory")).parallel.memory_weight, 0.8);
    EXPECT_EQ(load(with(small_config(), "parallel", "memory_weight", 0.5)).parallel.memory_weight, 0.5);
    EXPECT_FALSE(config.parallel.prescaled_batch);
    EXPECT_EQ(config.parallel.active_microbatches, 1);
    EXPECT_EQ(config.training.sequence_length, 1024);
    EXPECT_EQ(config.training.seed, 1U);
    EXPECT_EQ(config.training.learning_rate, 6e-4);
    EXPECT_EQ(config.training.min_learning_rate, 6e-4 / 10);
    EXPECT_EQ(config.training.schedule, runtime::LearningRateSchedule::cosine);
    EXPECT_EQ(config.training.beta1, 0.9);
    EXPECT_EQ(config.training.beta2, 0.95);
    EXPECT_EQ(config.training.epsilon, 1e-8);
    EXPECT_EQ(config.training.weight_decay, 0.1);
    EXPECT_EQ(config.training.gradient_clip_norm, 1.0);
    EXPECT_EQ(config.training.evaluate_every, 0);
    EXPECT_EQ(config.training.evaluation_batches, 10);
    EXPECT_EQ(config.data.order, runtime::DataOrder::shuffled);
    EXPECT_EQ(config.data.tokenizer, runtime::Tokenizer::bytes);
    EXPECT_EQ(config.cluster.nodes, 1);
    EXPECT_EQ(config.cluster.timeout_seconds, 600);
    EXPECT_EQ(config.cluster.startup_timeout_seconds, 60);
    EXPECT_EQ(config.cluster.threads_per_rank, std::nullopt);
    EXPECT_EQ(config.logging.every, 1);
    EXPECT_TRUE(config.notes.empty());
    EXPECT_EQ(config.world(), 1);
}

TEST(LoadConfig, ABoundThatIsNeverReachedIsNoted) {
    Json config = with(small_config(), "parallel", "pipeline_parallel_degree", 2);
    config["parallel"]["microbatches"] = 8;
    EXPECT_TRUE(load(config).notes.empty());
    config["parallel"]["active_microbatches"] = 3;
    EXPECT_TRUE(load(config).notes.empty());
    config["parallel"]["active_microbatches"] = 4;
    EXPECT_THAT(load(config).notes, ElementsAre(HasSubstr("with 2 stages at most 3 are active")));
}

TEST(LoadConfig, TheWorldIsStatedOnceItIsKnown) {
    Json config = with(small_config(), "parallel", "pipeline_parallel_degree", 2);
    EXPECT_EQ(load(config).world(), 2);
    const launch::Config on_four = load(config, {}, 4);
    EXPECT_EQ(on_four.world(), 4);
    // Started again from what it wrote, the job wants the same ranks without being told.
    EXPECT_EQ(load(Json::parse(launch::to_json(on_four))).world(), 4);
}

TEST(LoadConfig, TheLossScaleIsStatedOnceThereIsOne) {
    EXPECT_EQ(load(small_config()).training.loss_scale, std::nullopt);
    EXPECT_EQ(load(small_config(), {"parallel.bf16=true"}).training.loss_scale, std::nullopt);
    EXPECT_EQ(load(small_config(), {"parallel.fp16=true"}).training.loss_scale, runtime::LossScaleOptions{});
    const auto scale = load(small_config(), {"parallel.fp16=true", R"(training.loss_scale={"hysteresis": 5})"});
    EXPECT_EQ(scale.training.loss_scale, (runtime::LossScaleOptions{.hysteresis = 5}));
    for (const char* wrong : {R"({"initail": 4})", R"({"initial": 4.5})", R"({"initial": "4"})"})
        EXPECT_THAT(only_problem(problems_of(small_config(),
                                             {"parallel.fp16=true", std::string("training.loss_scale=") + wrong})),
                    HasSubstr("must be an object with integers initial, growth_interval, hysteresis and minimum"));
}

TEST(LoadConfig, AnAliasIsTheKeyItself) {
    EXPECT_EQ(load(with(small_config(), "parallel", "partitions", 2)).parallel.pipeline_parallel_degree, 2);
    EXPECT_EQ(load(small_config(), {"parallel.partitions=2"}).parallel.pipeline_parallel_degree, 2);
    Json both = with(small_config(), "parallel", "partitions", 2);
    both["parallel"]["pipeline_parallel_degree"] = 2;
    EXPECT_THAT(only_problem(problems_of(both)),
                HasSubstr("parallel.partitions is another name of parallel.pipeline_parallel_degree"));
}

TEST(LoadConfig, OverridesTakeJsonAndBareStrings) {
    const launch::Config config =
        load(small_config(), {"training.steps=3", "training.learning_rate=1e-3", "parallel.pipeline=simple",
                              "data.order=\"sequential\"", "training.sample_prompt=To be, or = not",
                              "model.tie_word_embeddings=false", "training.steps=4"});
    EXPECT_EQ(config.training.steps, 4);
    EXPECT_EQ(config.training.learning_rate, 1e-3);
    EXPECT_EQ(config.parallel.pipeline, partition::PipelineSchedule::simple);
    EXPECT_EQ(config.data.order, runtime::DataOrder::sequential);
    EXPECT_EQ(config.training.sample_prompt, "To be, or = not");
    EXPECT_FALSE(config.gpt2.tie_word_embeddings);
}

TEST(LoadConfig, WhereTextIsWantedABareOverrideIsText) {
    EXPECT_EQ(load(small_config(), {"training.sample_prompt=42"}).training.sample_prompt, "42");
    EXPECT_EQ(load(small_config(), {"training.sample_prompt=true"}).training.sample_prompt, "true");
    EXPECT_EQ(load(small_config(), {"training.sample_prompt="}).training.sample_prompt, "");
    EXPECT_EQ(load(small_config(), {"data.train=7"}).data.train, (std::filesystem::current_path() / "7").string());
}

TEST(LoadConfig, AnOverrideWithNullTakesAKeyBack) {
    EXPECT_EQ(load(small_config(), {"training.global_batch_size=null", "training.batch_size=4"}).training.batch_size,
              4);
}

TEST(LoadConfig, BadOverridesSayWhatTheyAre) {
    EXPECT_THAT(only_problem(problems_of(small_config(), {"training.steps"})),
                HasSubstr("write --set SECTION.KEY=VALUE"));
    EXPECT_THAT(only_problem(problems_of(small_config(), {"steps=1.5"})), HasSubstr("write --set SECTION.KEY=VALUE"));
    EXPECT_THAT(only_problem(problems_of(small_config(), {"training.stepz=1"})),
                HasSubstr("did you mean training.steps?"));
    EXPECT_THAT(only_problem(problems_of(small_config(), {"trainin.steps=1"})), HasSubstr("did you mean training?"));
    const auto problems = problems_of(small_config(), {"training.steps=many"});
    EXPECT_EQ(only_problem(problems), "training.steps = \"many\": must be an integer, from 1 to 1099511627776");
    EXPECT_EQ(problems.front().origin, "--set");
}

TEST(LoadConfig, AnOverriddenValueNeedNotBeRight) {
    EXPECT_EQ(load(with(small_config(), "training", "steps", "many"), {"training.steps=2"}).training.steps, 2);
}

TEST(LoadConfig, PathsStartAtTheFileOrTheWorkingDirectory) {
    const ScratchFolder folder;
    std::filesystem::create_directory(folder / "inner");
    Json config = small_config();
    config["data"] = {{"train", "../data/*.txt"}, {"validation", "/else/where"}};
    const auto file = folder.write("inner/job.json", config.dump());
    const launch::Config loaded = launch::load_config(file, {"training.initial_weights=w/../model"});
    EXPECT_EQ(loaded.data.train, (folder / "data/*.txt").string());
    EXPECT_EQ(loaded.data.validation, "/else/where");
    EXPECT_EQ(loaded.training.initial_weights, (std::filesystem::current_path() / "model").string());
}

TEST(LoadConfig, ValuesWithoutEffectAreNoted) {
    Json deterministic = with(small_config(), "training", "deterministic", true);
    EXPECT_THAT(load(deterministic).notes, ElementsAre(HasSubstr("training.deterministic = true changes nothing where "
                                                                 "cluster.device = \"auto\" comes to CPUs: ")));
    deterministic["cluster"]["device"] = "cpu";
    EXPECT_THAT(load(deterministic).notes,
                ElementsAre(HasSubstr("training.deterministic = true changes nothing on CPUs: ")));
    deterministic["cluster"]["device"] = "cuda";
    EXPECT_TRUE(load(deterministic).notes.empty());
    EXPECT_THAT(load(with(small_config(), "training", "sample_prompt", "O")).notes,
                ElementsAre(HasSubstr("training.sample_prompt")));
    Json by_hand = small_config();
    by_hand["parallel"] = {{"auto_partition", false}, {"stage_layers", {4}}, {"memory_weight", 0.1}};
    EXPECT_THAT(load(by_hand).notes, ElementsAre(HasSubstr("parallel.memory_weight")));
    Json alone = with(small_config(), "parallel", "optimize", "memory");
    EXPECT_THAT(load(alone).notes, ElementsAre(HasSubstr("parallel.optimize = \"memory\" changes nothing")));
    alone["parallel"]["tensor_parallel_degree"] = 2;
    EXPECT_TRUE(load(alone).notes.empty());
    const auto notes = [](const std::string& section, const std::string& key, const Json& value) {
        return load(with(small_config(), section, key, value)).notes;
    };
    EXPECT_THAT(notes("training", "sample_temperature", 0.5), ElementsAre(HasSubstr("training.sample_tokens is 0")));
    EXPECT_THAT(notes("training", "evaluation_batches", 3), ElementsAre(HasSubstr("training.evaluate_every is 0")));
    EXPECT_THAT(notes("data", "validation", "v.txt"), ElementsAre(HasSubstr("data.validation is not used")));
    EXPECT_THAT(notes("parallel", "prescaled_batch", true), ElementsAre(HasSubstr("training.global_batch_size")));
    Json constant = with(small_config(), "training", "schedule", "constant");
    EXPECT_TRUE(load(Json::parse(launch::to_json(load(constant)))).notes.empty());
    constant["training"]["min_learning_rate"] = 1e-5;
    EXPECT_THAT(load(constant).notes, ElementsAre(HasSubstr("training.min_learning_rate")));
}

TEST(LoadConfig, AJobCarriesTheCanonicalText) {
    const launch::Config config = load(small_config());
    EXPECT_EQ(config.canonical_text, launch::canonical_text(config));
    // Section `model` in it is the model's own text, which checkpoints are compared by.
    EXPECT_THAT(config.canonical_text, HasSubstr(config.model.spec->canonical_text()));
}

}  // namespace
}  // namespace smp::testing
