// smp_train as a user runs it: records, repeated runs, texts, traces, many ranks.
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class SmpTrain : public ::testing::Test {
  protected:
    /// A small byte-level model on the text that ships with the project.
    Json config() const {
        return {{"model",
                 {{"n_layer", 4},
                  {"n_head", 4},
                  {"n_embd", 32},
                  {"n_positions", 32},
                  {"vocab_size", 256},
                  {"resid_pdrop", 0.1},
                  {"attn_pdrop", 0.1}}},
                {"parallel", {{"microbatches", 4}}},
                {"training",
                 {{"steps", 4},
                  {"global_batch_size", 16},
                  {"evaluate_every", 2},
                  {"evaluation_batches", 2},
                  {"sample_tokens", 8},
                  {"sample_prompt", "ROMEO"}}},
                {"data",
                 {{"train", std::string(SMP_SOURCE_DIR) + "/configs/data/shakespeare.txt"},
                  {"validation_fraction", 0.05}}}};
    }

    Outcome train(const std::string& prefix, const std::string& output, const std::string& options) const {
        return run(fmt::format("{}{} --config {} --output {} {}", prefix, program("smp_train"), folder_ / "job.json",
                               folder_ / output, options));
    }

    Folder folder_;
};

TEST_F(SmpTrain, EveryLevelOfLoggingShowsLessThanTheOneBefore) {
    Json quick = config();
    quick["training"].update(Json{{"evaluate_every", 0}, {"sample_tokens", 0}});
    quick["parallel"] = {{"microbatches", 1}, {"pipeline_parallel_degree", 2}};  // too few: a warning
    quick["logging"] = {{"every", 100}};
    folder_.write("job.json", quick.dump());
    const auto shown = [&](const std::string& level) {
        const Outcome outcome = train("", level, "--set logging.level=" + level);
        EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
        return outcome.output;
    };
    const std::string debug = shown("debug"), info = shown("info"), warning = shown("warning");
    EXPECT_THAT(debug, HasSubstr("step 2/4"));
    EXPECT_THAT(info, ::testing::AllOf(HasSubstr("step 4/4"), ::testing::Not(HasSubstr("step 2/4"))));
    EXPECT_THAT(info, HasSubstr("tokens in 1 file, text by tokenizer bytes: "));
    EXPECT_THAT(info, ::testing::ContainsRegex("\\| products: own (AVX-512|AVX2|portable) tiles, fp32; attention, "));
    EXPECT_THAT(warning, ::testing::AllOf(HasSubstr("warning: "), ::testing::Not(HasSubstr("step"))));
    EXPECT_EQ(shown("error"), "");
}

TEST_F(SmpTrain, AThousandThreadsAreRefusedBeforeTheyStart) {
    folder_.write("job.json", config().dump());
    const Outcome ranks = train("", "out", "--ranks 1024 --set training.global_batch_size=4096");
    EXPECT_EQ(ranks.exit_code, 2) << ranks.output;
    EXPECT_THAT(ranks.output, HasSubstr("makes 1024 threads of one process"));
    const Outcome threads = train("", "out", "--set cluster.threads_per_rank=1000");
    EXPECT_EQ(threads.exit_code, 2) << threads.output;
    EXPECT_THAT(threads.output, HasSubstr("cluster.threads_per_rank makes 1000 threads"));
}

TEST_F(SmpTrain, SaysWhatADataSetCannotGive) {
    Json uneven = config();
    uneven["data"]["validation_fraction"] = 0.0005;
    uneven["training"]["sample_tokens"] = 0;
    uneven["model"]["vocab_size"] = 512;
    folder_.write("job.json", uneven.dump());
    const Outcome outcome = train("", "out", "");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output,
                HasSubstr("an evaluation (training.evaluation_batches = 2) takes 32 samples, but there"));
    EXPECT_THAT(outcome.output, HasSubstr("only 256 occur"));
}

TEST_F(SmpTrain, AFileThatOutgrowsTheUsersLimitIsASentence) {
    folder_.write("job.json", config().dump());
    const Outcome outcome = train("ulimit -f 2; ", "out", "");
    EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("File too large"));
    EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
}

TEST_F(SmpTrain, LeavesTheRecordsOfTheContract) {
    folder_.write("job.json", config().dump());
    const Outcome outcome = train("", "out", "--set parallel.pipeline_parallel_degree=2");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("ROMEO"));

    std::ifstream metrics(folder_ / "out/metrics.jsonl");
    int steps = 0;
    for (std::string line; std::getline(metrics, line);) {
        const Json record = Json::parse(line);
        EXPECT_EQ(record["step"], ++steps);
        EXPECT_EQ(record["tokens"], steps * 16 * 32);
        EXPECT_EQ(record["skipped_updates"], 0);
        EXPECT_EQ(record.contains("validation_loss"), steps % 2 == 0);
        for (const char* key : {"loss", "learning_rate", "grad_norm", "seconds", "tokens_per_second", "memory_bytes",
                                "predicted_memory_bytes"})
            EXPECT_GT(record[key].get<double>(), 0) << key;
        for (const char* key : {"mfu", "predicted_seconds"}) EXPECT_TRUE(record[key].is_null()) << key;
    }
    EXPECT_EQ(steps, 4);
    EXPECT_THAT(read_text(folder_ / "out/log.txt"), HasSubstr("step 4/4"));
    const Json plan = Json::parse(read_text(folder_ / "out/plan.json"));
    EXPECT_EQ(plan["topology"]["degrees"], Json({{"pipeline", 2}, {"tensor", 1}, {"reduced_data", 1}}));
    EXPECT_EQ(plan["hash"].get<std::string>().size(), 16);

    // The resolved configuration repeats the run.
    const Outcome again = run(fmt::format("{} --config {} --output {}", program("smp_train"),
                                          folder_ / "out/config.json", folder_ / "again"));
    ASSERT_EQ(again.exit_code, 0) << again.output;
    EXPECT_EQ(promised(folder_ / "again/metrics.jsonl"), promised(folder_ / "out/metrics.jsonl"));
    EXPECT_EQ(read_text(folder_ / "again/config.json"), read_text(folder_ / "out/config.json"));

    // A finished run is left alone, unless told otherwise.
    const Outcome finished = train("", "out", "--set parallel.pipeline_parallel_degree=2");
    EXPECT_EQ(finished.exit_code, 0);
    EXPECT_THAT(finished.output, HasSubstr("finished"));
    EXPECT_THAT(train("", "out", "--set parallel.pipeline_parallel_degree=2 --resume never").output,
                HasSubstr("step 4/4"));
}

// Processes exchange messages, which takes memory that threads do not need: the plan knows of it, by category, to the
// byte. (Threads: tests/runtime/stage/memory_forecast_test.cpp.)
TEST_F(SmpTrain, ProcessesTakeTheMemoryThatIsForecast) {
    Json job = config();
    job["model"]["n_embd"] = 64;
    job["training"]["sample_tokens"] = 0;
    folder_.write("job.json", job.dump());
    int runs = 0;
    for (const std::string layout :
         {"parallel.tensor_parallel_degree=2 --set parallel.optimize=memory", "parallel.pipeline_parallel_degree=2",
          "parallel.tensor_parallel_degree=2 --set parallel.shard_optimizer_state=true --set parallel.bf16=true",
          "parallel.tensor_parallel_degree=1 --set parallel.shard_optimizer_state=true"}) {
        const std::string output = fmt::format("processes{}", runs++);
        const Outcome outcome =
            train(mpirun(4), output, fmt::format("--set {} --set checkpoint.asynchronous=false", layout));
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        std::ifstream metrics(folder_ / (output + "/metrics.jsonl"));
        int records = 0;
        for (std::string line; std::getline(metrics, line);) {
            const Json record = Json::parse(line);
            ++records;
            EXPECT_EQ(record["memory_bytes"], record["predicted_memory_bytes"]) << layout << ": " << line;
        }
        EXPECT_EQ(records, 4);
        // Rank 0 by category: what differs from its forecast says so.
        const std::string log = read_text(folder_ / (output + "/log.txt"));
        const auto at = log.find("memory of a rank of stage 0: ");
        ASSERT_NE(at, std::string::npos) << log;
        const std::string line = log.substr(at, log.find('\n', at) - at);
        EXPECT_THAT(line, HasSubstr("communication "));
        EXPECT_THAT(line, ::testing::Not(HasSubstr("(")));
    }
}

TEST_F(SmpTrain, AnOutputDirectoryBelongsToOneRunAtATime) {
    folder_.write("job.json", config().dump());
    std::filesystem::create_directories(folder_ / "out");
    const Outcome outcome = run(fmt::format("flock {} {} --config {} --output {}", folder_ / "out/.lock",
                                            program("smp_train"), folder_ / "job.json", folder_ / "out"));
    EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("another run"));
}

TEST_F(SmpTrain, ThreadsAndProcessesOneOrTwoThreadsGiveTheSameText) {
    folder_.write("job.json", config().dump());
    ASSERT_EQ(train("", "reference", "--ranks 1").exit_code, 0);
    const std::string expected = promised(folder_ / "reference/metrics.jsonl");
    struct Variant {
        std::string prefix, options;
    };
    for (const auto& [prefix, options] : std::vector<Variant>{
             {mpirun(1), "--set cluster.threads_per_rank=2"},
             {mpirun(2), "--set parallel.pipeline_parallel_degree=2 --set parallel.active_microbatches=1"},
             {mpirun(4), "--set parallel.pipeline_parallel_degree=4 --set parallel.pipeline=simple"},
             {"", "--set parallel.pipeline_parallel_degree=4 --set cluster.threads_per_rank=2"},
         }) {
        const Outcome outcome = train(prefix, "variant", "--resume never " + options);
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        EXPECT_EQ(promised(folder_ / "variant/metrics.jsonl"), expected) << prefix << options;
    }
}

// Tokens cut over the tensor ranks: the loss before the first update is that of the same ranks without, text is sampled
// from rows that lie on several ranks, and no layout shows.
TEST_F(SmpTrain, OptimizesForMemory) {
    auto job = config();
    job["model"]["embd_pdrop"] = 0.1;
    job["parallel"]["tensor_parallel_degree"] = 2;
    folder_.write("job.json", job.dump());
    const auto first_loss = [&](const std::string& output) {
        std::ifstream metrics(folder_ / (output + "/metrics.jsonl"));
        std::string line;
        std::getline(metrics, line);
        return Json::parse(line)["loss"].get<double>();
    };
    const std::string memory = "--resume never --set parallel.optimize=memory ";
    ASSERT_EQ(train("", "speed", "").exit_code, 0);
    const Outcome reference = train("", "memory", memory);
    ASSERT_EQ(reference.exit_code, 0) << reference.output;
    EXPECT_THAT(reference.output, HasSubstr("ROMEO"));
    EXPECT_EQ(first_loss("memory"), first_loss("speed"));
    EXPECT_EQ(Json::parse(read_text(folder_ / "memory/config.json"))["parallel"]["optimize"], "memory");
    const std::string expected = promised(folder_ / "memory/metrics.jsonl");
    const std::string split =
        "--set parallel.pipeline_parallel_degree=2 --set parallel.pipeline=zero_bubble "
        "--set parallel.shard_optimizer_state=true --set parallel.activation_checkpointing=group_2 "
        "--set parallel.offload_activations=true --set parallel.activation_loading_horizon=1";
    for (const auto& [prefix, options] : std::vector<std::pair<std::string, std::string>>{
             {"", split}, {mpirun(2), ""}, {mpirun(4), split + " --set cluster.threads_per_rank=1"}}) {
        const Outcome outcome = train(prefix, "variant", memory + options);
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        EXPECT_EQ(promised(folder_ / "variant/metrics.jsonl"), expected) << prefix << options;
    }
}

TEST_F(SmpTrain, TrainsInSixteenBits) {
    folder_.write("job.json", config().dump());
    const Outcome outcome = train("", "bf16", "--set parallel.bf16=true --ranks 1");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    const Outcome processes =
        train(mpirun(2), "pipeline",
              "--set parallel.bf16=true --set parallel.pipeline_parallel_degree=2 "
              "--set parallel.activation_checkpointing=each --set parallel.offload_activations=true "
              "--set parallel.activation_loading_horizon=1");
    ASSERT_EQ(processes.exit_code, 0) << processes.output;
    EXPECT_EQ(promised(folder_ / "pipeline/metrics.jsonl"), promised(folder_ / "bf16/metrics.jsonl"));

    // An overflow is said once and counted in each record.
    const Outcome overflow = train("", "fp16",
                                   "--ranks 2 --set parallel.fp16=true --set 'training.loss_scale={\"initial\": "
                                   "1099511627776}'");
    ASSERT_EQ(overflow.exit_code, 0) << overflow.output;
    EXPECT_THAT(read_text(folder_ / "fp16/log.txt"), HasSubstr("step 1 made no update: the gradient of "));
    EXPECT_EQ(read_text(folder_ / "fp16/log.txt").find("step 2 made no update"), std::string::npos);
    EXPECT_THAT(read_text(folder_ / "fp16/metrics.jsonl"),
                HasSubstr(R"("grad_norm":null,"tokens":2048,"skipped_updates":4)"));
}

TEST_F(SmpTrain, TracesTheStepsThatWereAskedFor) {
    folder_.write("job.json", config().dump());
    const std::string layout = "--resume never --set parallel.pipeline_parallel_degree=2 ";
    const Outcome outcome = train(mpirun(2), "traced", layout + "--set logging.trace_steps=[2,4]");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    for (const char* step : {"step 2 traced: bubble ", "step 4 traced: bubble "})
        EXPECT_THAT(read_text(folder_ / "traced/log.txt"), HasSubstr(step));
    const Json plan = Json::parse(read_text(folder_ / "traced/plan.json"));
    const Json trace = Json::parse(read_text(folder_ / "traced/trace.json"));
    EXPECT_EQ(trace["otherData"]["plan"], plan["hash"]);
    EXPECT_THAT(trace["otherData"]["clock error of step 4"].get<std::string>(), HasSubstr("ns at most"));
    std::map<std::pair<int, int>, std::size_t> spans;  // by rank and step
    for (const Json& event : trace["traceEvents"])
        if (event["ph"] == "X") ++spans[{event["pid"], event["args"]["step"]}];
    for (const int stage : {0, 1})
        for (const int step : {2, 4}) EXPECT_EQ((spans[{stage, step}]), plan["training"][stage]["actions"].size());
    EXPECT_EQ(spans.size(), 4U);

    // The next run in that directory leaves no trace of another.
    ASSERT_EQ(train("", "traced", layout).exit_code, 0);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "traced/trace.json"));
}

TEST_F(SmpTrain, SixteenProcessesOnFewCores) {
    auto job = config();
    job["parallel"] = {{"pipeline_parallel_degree", 4}, {"tensor_parallel_degree", 2}, {"microbatches", 4}};
    folder_.write("job.json", job.dump());
    const Outcome outcome = train(mpirun(16), "many", "");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_EQ(Json::parse(read_text(folder_ / "many/plan.json"))["topology"]["degrees"]["reduced_data"], 2);
}

}  // namespace
}  // namespace smp::testing
