// Rules between keys, and on how many ranks a job can run.
#include "runtime/job/job_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/launch/small_config.h"

namespace smp::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string problem_with(const std::string& sections, std::optional<int> ranks = std::nullopt) {
    Json config = small_config();
    config.merge_patch(Json::parse(sections));
    return only_problem(problems_of(config, {}, ranks));
}

TEST(JobRules, HeadsAndMlpDivideByTheTensorDegree) {
    EXPECT_THAT(problem_with(R"({"parallel": {"tensor_parallel_degree": 3}, "model": {"n_inner": 99}})"),
                AllOf(HasSubstr("parallel.tensor_parallel_degree = 3"), HasSubstr("model.n_head, which is 4")));
    EXPECT_THAT(problem_with(R"({"parallel": {"tensor_parallel_degree": 4}, "model": {"n_inner": 98}})"),
                AllOf(HasSubstr("parallel.tensor_parallel_degree = 4"), HasSubstr("model.n_inner"), HasSubstr("98")));
    EXPECT_THAT(problem_with(R"({"model": {"n_embd": 30}})"),
                AllOf(HasSubstr("model.n_embd = 30"), HasSubstr("model.n_head, which is 4")));
}

TEST(JobRules, HeadsThatNoKernelTakesAreRefusedOnCuda) {
    const auto on = [](const std::string& device, const std::string& sections) {
        return problem_with(fmt::format(R"({{"cluster": {{"device": "{}"}}, {}}})", device, sections));
    };
    const std::string wide = R"("model": {"n_head": 4, "n_embd": 640})";
    EXPECT_THAT(on("cuda", wide),
                AllOf(HasSubstr("model.n_head = 4: cuts model.n_embd = 640 into heads of 160 columns"),
                      HasSubstr("takes up to 128; raise it to 5 or more, or"), HasSubstr("cluster.device = \"cpu\"")));
    EXPECT_EQ(on("cpu", wide), "0 problems:");
    EXPECT_EQ(on("auto", wide), "0 problems:");  // a trainer that comes to CUDA says it
    EXPECT_EQ(on("cuda", R"("model": {"n_head": 5, "n_embd": 640})"), "0 problems:");
    const std::string many = R"("model": {"n_head": 131072, "n_embd": 131072, "n_layer": 1})";
    EXPECT_THAT(on("cuda", many), HasSubstr("model.n_head = 131072: leaves 131072 heads to a rank"));
    EXPECT_EQ(on("cpu", many), "0 problems:");
    const std::string sequences = R"("training": {"global_batch_size": 131072, "sequence_length": 8},
                                     "parallel": {"microbatches": )";
    EXPECT_THAT(on("cuda", sequences + "1}"),
                HasSubstr("cluster.device = \"cuda\": attention there takes microbatches of up to 65535 sequences, and "
                          "these have 131072; raise parallel.microbatches"));
    EXPECT_EQ(on("cuda", sequences + "4}"), "0 problems:");
    EXPECT_EQ(on("cpu", sequences + "1}"), "0 problems:");
}

TEST(JobRules, TensorDegreesThatArePossibleAreNamedOnce) {
    const auto degree = [](int tp) {
        return only_problem(problems_of(Json{{"model", {{"preset", "gpt2-xl"}}},
                                             {"parallel", {{"tensor_parallel_degree", tp}}},
                                             {"training", {{"steps", 1}, {"global_batch_size", 1}}},
                                             {"data", {{"train", "x"}}}}));
    };
    for (const int tp : {3, 4, 8}) EXPECT_THAT(degree(tp), ::testing::EndsWith("; choose 1, 5 or 25")) << tp;
    EXPECT_EQ(degree(5), "0 problems:");
}

// Each key is within its limits; together they would take minutes, gigabytes, or more than 64 bits.
TEST(JobRules, SizesThatNothingCouldWorkWithAreRefusedEarly) {
    const auto refused = [](const std::string& sections, const std::string& key, const std::string& part,
                            std::optional<int> ranks = std::nullopt) {
        const std::string problem = problem_with(sections, ranks);
        EXPECT_THAT(problem, AllOf(HasSubstr(key + " = "), HasSubstr(part), HasSubstr("at most"))) << sections;
    };
    refused(R"({"model": {"n_layer": 4096, "n_embd": 1048576, "n_head": 16}})", "model", "parameters");
    refused(R"({"model": {"n_layer": 4096}, "parallel": {"pipeline_parallel_degree": 1000}})",
            "parallel.pipeline_parallel_degree", "cut into stages");
    refused(R"({"model": {"n_layer": 1000}, "parallel": {"pipeline_parallel_degree": 500, "microbatches": 1000},
                "training": {"global_batch_size": 1000}})",
            "parallel.microbatches", "actions");
    refused(R"({"model": {"n_layer": 1000}, "parallel": {"activation_checkpointing": "each", "microbatches": 1000},
                "training": {"global_batch_size": 1000}})",
            "parallel.microbatches", "actions");
    refused(R"({"model": {"n_positions": 16777216, "n_embd": 1048576}, "training": {"global_batch_size": 2147483648}})",
            "parallel.microbatches", "FLOPs");
    refused(R"({"training": {"global_batch_size": null, "batch_size": 2147483648}})", "training.batch_size",
            "sequences a step", 1000);
    refused(R"({"training": {"steps": 1099511627776, "global_batch_size": 65536}})", "training.steps", "tokens");
    // The largest that people train.
    EXPECT_EQ(problem_with(R"({"model": {"n_layer": 128, "n_embd": 25600, "n_head": 160, "n_positions": 2048},
        "parallel": {"pipeline_parallel_degree": 64, "tensor_parallel_degree": 8, "microbatches": 512,
                     "activation_checkpointing": "each"},
        "training": {"global_batch_size": 3072, "steps": 100000}})",
                           3072),
              "0 problems:");
}

TEST(JobRules, TokensDivideByTheTensorDegreeWhereTheyAreCutOverIt) {
    const std::string model = R"("model": {"n_head": 4, "n_inner": 96, "n_positions": 32})";
    const auto cut = [&](const std::string& optimize, int length) {
        return problem_with(fmt::format(
            R"({{"parallel": {{"tensor_parallel_degree": 4, "optimize": "{}"}}, "training": {{"sequence_length": {}}}, {}}})",
            optimize, length, model));
    };
    EXPECT_THAT(cut("memory", 30),
                AllOf(HasSubstr("training.sequence_length = 30: must be a multiple of"),
                      HasSubstr("parallel.tensor_parallel_degree, which is 4"), HasSubstr("optimize = \"speed\"")));
    EXPECT_EQ(cut("memory", 32), "0 problems:");
    EXPECT_EQ(cut("speed", 30), "0 problems:");
    EXPECT_THAT(problem_with(R"({"parallel": {"tensor_parallel_degree": 2, "optimize": "memory"},
                                 "model": {"n_positions": 31}})"),
                HasSubstr("training.sequence_length = 31"));
    EXPECT_THAT(problem_with(R"({"parallel": {"optimize": "both"}})"), HasSubstr("\"speed\" or \"memory\""));
}

TEST(JobRules, OnePrecisionAndItsLossScale) {
    EXPECT_THAT(problem_with(R"({"parallel": {"fp16": true, "bf16": true}})"),
                AllOf(HasSubstr("parallel.fp16 = true"), HasSubstr("excludes parallel.bf16")));
    const std::string scale = R"("training": {"loss_scale": {"initial": 1024}})";
    EXPECT_THAT(problem_with("{" + scale + "}"),
                AllOf(HasSubstr("training.loss_scale = {\"initial\":1024"), HasSubstr("parallel.fp16 is false")));
    EXPECT_THAT(problem_with(R"({"parallel": {"bf16": true}, )" + scale + "}"), HasSubstr("parallel.fp16 is false"));
    EXPECT_EQ(problem_with(R"({"parallel": {"fp16": true}, )" + scale + "}"), "0 problems:");
}

TEST(JobRules, OnlyStepsOfTheRunAreTraced) {
    EXPECT_TRUE(problems_of(with(small_config(), "logging", "trace_steps", {1})).empty());
    EXPECT_THAT(problem_with(R"({"logging": {"trace_steps": [1, 1000000]}})"),
                AllOf(HasSubstr("logging.trace_steps"), HasSubstr("step 1000000 does not come: training.steps is")));
}

TEST(JobRules, StagesNeedLayers) {
    EXPECT_THAT(problem_with(R"({"parallel": {"pipeline_parallel_degree": 5}})"),
                HasSubstr("parallel.pipeline_parallel_degree"));
    const auto by_hand = [](const std::string& layers) {
        return problem_with(
            R"({"parallel": {"pipeline_parallel_degree": 2, "auto_partition": false, "stage_layers": )" + layers +
            "}}");
    };
    EXPECT_THAT(by_hand("[2, 3]"), AllOf(HasSubstr("parallel.stage_layers"), HasSubstr("5"), HasSubstr("4")));
    EXPECT_THAT(by_hand("[4]"), HasSubstr("parallel.stage_layers"));
    EXPECT_EQ(by_hand("[1, 3]"), "0 problems:");
    EXPECT_THAT(problem_with(R"({"parallel": {"stage_layers": [4]}})"), HasSubstr("parallel.auto_partition = false"));
    EXPECT_THAT(problem_with(R"({"parallel": {"auto_partition": false}})"), HasSubstr("parallel.stage_layers"));
}

TEST(JobRules, ChunksNeedLayersAndEnoughActiveMicrobatches) {
    EXPECT_THAT(problem_with(R"({"parallel": {"pipeline_parallel_degree": 2, "virtual_pipeline_degree": 3}})"),
                AllOf(HasSubstr("parallel.virtual_pipeline_degree"), HasSubstr("4 layers")));
    EXPECT_THAT(problem_with(R"({"parallel": {"pipeline_parallel_degree": 2, "virtual_pipeline_degree": 2,
                                              "microbatches": 8, "active_microbatches": 3}})"),
                AllOf(HasSubstr("parallel.active_microbatches = 3"), HasSubstr("at least 4 of 8"),
                      HasSubstr("set it to 4, or leave virtual_pipeline_degree out")));
    EXPECT_THAT(
        problem_with(R"({"parallel": {"pipeline": "simple", "virtual_pipeline_degree": 2}})"),
        AllOf(HasSubstr("parallel.virtual_pipeline_degree = 2"), HasSubstr("\"simple\" has one chunk a stage")));
    EXPECT_THAT(problem_with(R"({"parallel": {"pipeline": "zero_bubble", "virtual_pipeline_degree": 2}})"),
                HasSubstr("\"zero_bubble\" has one chunk a stage"));
    EXPECT_EQ(problem_with(R"({"parallel": {"pipeline_parallel_degree": 2, "virtual_pipeline_degree": 2,
                                            "microbatches": 8, "active_microbatches": 4}})"),
              "0 problems:");
}

TEST(JobRules, SequencesFitThePositions) {
    EXPECT_THAT(problem_with(R"({"training": {"sequence_length": 1025}})"),
                AllOf(HasSubstr("training.sequence_length = 1025"), HasSubstr("model.n_positions, which is 1024")));
}

TEST(JobRules, ExactlyOneBatchSize) {
    EXPECT_THAT(problem_with(R"({"training": {"batch_size": 8}})"),
                AllOf(HasSubstr("batch_size"), HasSubstr("global_batch_size"), HasSubstr("excludes")));
    EXPECT_THAT(problem_with(R"({"training": {"global_batch_size": null}})"), HasSubstr("missing"));
    EXPECT_EQ(problem_with(R"({"training": {"batch_size": 8, "global_batch_size": null}})"), "0 problems:");
}

TEST(JobRules, EvaluationAndSamplesNeedWhatTheyUse) {
    EXPECT_THAT(problem_with(R"({"training": {"evaluate_every": 2}})"), HasSubstr("data.validation"));
    EXPECT_EQ(problem_with(R"({"training": {"evaluate_every": 2}, "data": {"validation_fraction": 0.1}})"),
              "0 problems:");
    EXPECT_THAT(problem_with(R"({"training": {"sample_tokens": 2}})"), HasSubstr("training.evaluate_every"));
    EXPECT_THAT(problem_with(R"({"data": {"validation": "x", "validation_fraction": 0.1}})"),
                HasSubstr("excludes data.validation"));
    EXPECT_THAT(problem_with(R"({"data": {"tokenizer_file": "x"}})"), HasSubstr("data.tokenizer"));
    EXPECT_THAT(problem_with(R"({"data": {"format": "text"}, "model": {"vocab_size": 255}})"),
                HasSubstr("model.vocab_size = 255"));
}

TEST(JobRules, LearningRateAndWarmup) {
    EXPECT_THAT(problem_with(R"({"training": {"min_learning_rate": 1}})"),
                HasSubstr("training.learning_rate, which is 0.0006"));
    EXPECT_THAT(problem_with(R"({"training": {"warmup_steps": 11}})"), HasSubstr("training.steps, which is 10"));
    EXPECT_EQ(problem_with(R"({"training": {"warmup_steps": 10}})"), "0 problems:");
}

TEST(JobRules, ActiveMicrobatches) {
    EXPECT_THAT(problem_with(R"({"parallel": {"microbatches": 4, "active_microbatches": 5}})"),
                HasSubstr("parallel.microbatches, which is 4"));
    EXPECT_THAT(problem_with(R"({"parallel": {"microbatches": 4, "active_microbatches": 3, "pipeline": "simple"}})"),
                HasSubstr("\"simple\""));
    EXPECT_EQ(problem_with(R"({"parallel": {"microbatches": 4, "active_microbatches": 4, "pipeline": "simple"}})"),
              "0 problems:");
}

TEST(JobRules, TheWorldFitsTheLayoutAndWhatIsStated) {
    EXPECT_THAT(problem_with(R"({"parallel": {"pipeline_parallel_degree": 2}})", 3),
                AllOf(HasSubstr("2"), HasSubstr("there are 3")));
    EXPECT_THAT(
        problem_with(R"({"cluster": {"devices_per_node": 2}})", 4),
        AllOf(HasSubstr("cluster.devices_per_node = 2"), HasSubstr("needs 2 ranks"), HasSubstr("started on 4")));
    EXPECT_THAT(problem_with(R"({"cluster": {"devices_per_node": 8}, "parallel": {"tensor_parallel_degree": 4}})", 3),
                HasSubstr("needs 8 ranks"));  // and not that 3 is no multiple of 4
    EXPECT_THAT(problem_with(R"({"cluster": {"nodes": 3}})", 4), HasSubstr("cluster.nodes = 3"));
    EXPECT_THAT(
        problem_with(R"({"cluster": {"nodes": 2, "devices_per_node": 3}, "parallel": {"tensor_parallel_degree": 4}})"),
        HasSubstr("multiple of 4"));
    EXPECT_EQ(problem_with(R"({"cluster": {"nodes": 2, "devices_per_node": 2}})", 4), "0 problems:");
    EXPECT_THAT(problem_with(R"({"cluster": {"nodes": 1000000, "devices_per_node": 1000000}})"),
                HasSubstr("1000000000000 ranks"));
}

TEST(JobRules, TheGlobalBatchDividesIntoMicrobatchesOnEachReplica) {
    EXPECT_THAT(problem_with(R"({"parallel": {"microbatches": 3}})"),
                AllOf(HasSubstr("training.global_batch_size = 8"), HasSubstr("3")));
    EXPECT_EQ(problem_with(R"({"parallel": {"microbatches": 2}})", 4), "0 problems:");
    EXPECT_THAT(problem_with(R"({"parallel": {"microbatches": 4}})", 4),
                AllOf(HasSubstr("16"), HasSubstr("parallel.microbatches")));
    EXPECT_THAT(
        problem_with(R"({"parallel": {"microbatches": 3}, "training": {"batch_size": 2, "global_batch_size": null}})"),
        HasSubstr("training.batch_size = 2"));
}

TEST(JobRules, EveryRuleSpeaksAtOnce) {
    Json config = small_config();
    config["parallel"] = {{"tensor_parallel_degree", 3}, {"microbatches", 2}, {"active_microbatches", 3}};
    config["training"]["sequence_length"] = 2000;
    config["training"]["batch_size"] = 1;
    EXPECT_THAT(keys_of(problems_of(config)),
                ElementsAre("parallel.active_microbatches", "training.batch_size", "parallel.tensor_parallel_degree",
                            "training.sequence_length"));
}

RC_GTEST_PROP(JobRules, BatchSizeCountsWhatPrescaledBatchSays, ()) {
    partition::ParallelOptions parallel;
    parallel.tensor_parallel_degree = *rc::gen::inRange(1, 9);
    parallel.prescaled_batch = *rc::gen::arbitrary<bool>();
    runtime::TrainingOptions training;
    const int batch = *rc::gen::inRange(1, 100), rdp = *rc::gen::inRange(1, 9);
    training.batch_size = batch;
    RC_ASSERT(runtime::global_batch(training, parallel, rdp) ==
              batch * rdp * (parallel.prescaled_batch ? 1 : parallel.tensor_parallel_degree));
    training.batch_size.reset();
    training.global_batch_size = batch;
    RC_ASSERT(runtime::global_batch(training, parallel, rdp) == batch);
}

RC_GTEST_PROP(JobRules, ActiveMicrobatchesByDefault, ()) {
    partition::ParallelOptions parallel;
    const int microbatches = *rc::gen::inRange(1, 20), stages = *rc::gen::inRange(1, 20);
    parallel.microbatches = microbatches;
    parallel.pipeline_parallel_degree = stages;
    RC_ASSERT(partition::active_microbatches(parallel) == std::min(stages + 2, microbatches));
    parallel.pipeline = partition::PipelineSchedule::simple;
    RC_ASSERT(partition::active_microbatches(parallel) == microbatches);
}

TEST(JobRules, AJobStatesItsWorld) {
    partition::ParallelOptions parallel;
    parallel.pipeline_parallel_degree = 3;
    parallel.tensor_parallel_degree = 2;
    partition::ClusterOptions cluster;
    EXPECT_EQ(partition::stated_world(cluster, parallel), 6);
    cluster.nodes = 4;
    EXPECT_EQ(partition::devices_per_node(cluster, parallel), 2);  // 6 / 4, rounded up
    EXPECT_EQ(partition::stated_world(cluster, parallel), 8);
    EXPECT_FALSE(partition::validate_world(8, cluster, parallel).empty());  // 8 ranks, but the layout takes 6 or 12
}

}  // namespace
}  // namespace smp::testing
