// smp_bench as users run it. Times are whatever they are: what is compared with them is planted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

class SmpBench : public ::testing::Test {
  protected:
    /// In the scratch folder, so that whatever it left would lie there.
    Outcome in_folder(const std::string& command) const {
        return run(fmt::format("cd {} && {}", folder_ / "", command));
    }
    Outcome bench(const std::string& options, const std::string& prefix = "") const {
        return in_folder(fmt::format("{}{} --config job.json --rounds 2 --steps 2 --warm-up 1 {}", prefix,
                                     program("smp_bench"), options));
    }
    Json read(const std::string& name) const { return Json::parse(read_text(folder_ / name)); }
    std::vector<std::string> files() const {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator(folder_ / ""))
            names.push_back(entry.path().filename());
        std::sort(names.begin(), names.end());
        return names;
    }

    Folder folder_;
    std::string job_ = folder_.write("job.json", R"({
        "model": {"n_layer": 2, "n_head": 4, "n_embd": 16, "n_positions": 16, "vocab_size": 256},
        "training": {"steps": 1, "global_batch_size": 8},
        "data": {"train": ")" SMP_SOURCE_DIR R"(/configs/data/shakespeare.txt"}})");
};

/// A row of a layout that was measured.
void expect_measured(const Json& row, int ranks) {
    EXPECT_TRUE(row["failure"].is_null()) << row["failure"];
    EXPECT_EQ(row["ranks"], ranks);
    EXPECT_EQ(row["global_batch"], 8);
    EXPECT_EQ(row["tokens_per_step"], 8 * 16);
    ASSERT_EQ(row["step_seconds"].size(), 4U);  // two rounds of two
    const double median = row["median_seconds"];
    EXPECT_GT(median, 0);
    EXPECT_LE(row["least_seconds"].get<double>(), median);
    EXPECT_LE(median, row["most_seconds"].get<double>());
    EXPECT_DOUBLE_EQ(row["tokens_per_second"].get<double>(), 8 * 16 / median);
    EXPECT_TRUE(row["mfu"].is_null());
    EXPECT_GE(row["bubble"].get<double>(), 0);
    EXPECT_GE(row["exposed_communication"].get<double>(), 0);
    EXPECT_LT(row["exposed_communication"].get<double>(), 1);
    // All categories are predicted to the byte.
    EXPECT_GT(row["memory_bytes"].get<std::int64_t>(), 0);
    EXPECT_EQ(row["memory_bytes"], row["predicted_memory_bytes"]);
    EXPECT_GT(row["memory_parameters_bytes"].get<std::int64_t>(), 0);
}

TEST_F(SmpBench, ComparesLayoutsAsThreadsAndAsProcesses) {
    const auto before = files();
    for (const std::string& prefix : {std::string(), mpirun(2)}) {
        SCOPED_TRACE(prefix);
        const std::string ranks = prefix.empty() ? "--ranks 2 " : "";
        const Outcome outcome =
            bench(ranks + "--sweep parallel.pipeline_parallel_degree=1,2 --output out.json", prefix);
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        EXPECT_EQ(outcome.count("median of 4 steps"), 1) << outcome.output;
        EXPECT_THAT(outcome.output, HasSubstr("pipeline_parallel_degree=2  pp 2, tp 1, rdp 1"));
        EXPECT_THAT(outcome.output, HasSubstr(prefix.empty() ? "2 ranks as threads" : "2 ranks as processes"));
        const Json result = read("out.json");
        EXPECT_EQ(result["hosts"].size(), 2U);
        ASSERT_EQ(result["rows"].size(), 2U);
        EXPECT_EQ(result["rows"][0]["layout"], "pp 1, tp 1, rdp 2");
        EXPECT_EQ(result["rows"][1]["overrides"], Json({"parallel.pipeline_parallel_degree=2"}));
        for (const Json& row : result["rows"]) expect_measured(row, 2);
        std::filesystem::remove(folder_ / "out.json");
        EXPECT_EQ(files(), before);  // no run, no checkpoint
    }
}

int fields_of(const std::string& csv_line) {
    bool quoted = false;
    int fields = 1;
    for (const char c : csv_line) {
        if (c == '"') quoted = !quoted;
        fields += c == ',' && !quoted ? 1 : 0;
    }
    return fields;
}

TEST_F(SmpBench, CsvAndMarkdownHaveALineALayout) {
    const Outcome csv = bench("--format csv --traced 0 --peak-tflops 1 --sweep parallel.microbatches=1,2");
    ASSERT_EQ(csv.exit_code, 0) << csv.output;
    EXPECT_EQ(csv.count("\n"), 3) << csv.output;
    std::istringstream lines(csv.output);
    std::vector<int> fields;
    for (std::string line; std::getline(lines, line);) fields.push_back(fields_of(line));
    EXPECT_GT(fields[0], 20);
    EXPECT_THAT(fields, ::testing::Each(fields[0])) << csv.output;
    EXPECT_THAT(csv.output, HasSubstr("\nmicrobatches=2,parallel.microbatches=2,1,,\"pp 1, tp 1, rdp 1\","));
    const Outcome markdown = bench("--traced 0 --peak-tflops 1 --output out.md");
    ASSERT_EQ(markdown.exit_code, 0) << markdown.output;
    const std::string text = read_text(folder_ / "out.md");
    EXPECT_THAT(text, HasSubstr("| configuration | layout |"));
    EXPECT_THAT(text, HasSubstr("| MFU |"));
    EXPECT_THAT(text, Not(HasSubstr("bubble")));
}

TEST_F(SmpBench, WhatDoesNotFitIsARowAndTheOthersRun) {
    const Outcome outcome = bench(
        "--ranks 2 --output out.json --sweep parallel.tensor_parallel_degree=1,2,3 --overrides small.json --overrides "
        "plain.json");
    EXPECT_EQ(outcome.exit_code, 2);  // there are no such files
    folder_.write("small.json", R"({"cluster": {"memory_limit_gib": 1e-6}})");
    folder_.write("plain.json", R"({"training": {"seed": 2}})");
    const Outcome both = bench(
        "--ranks 2 --output out.json --sweep parallel.tensor_parallel_degree=1,3 --overrides small.json --overrides "
        "plain.json");
    ASSERT_EQ(both.exit_code, 0) << both.output;
    const Json rows = read("out.json")["rows"];
    ASSERT_EQ(rows.size(), 4U);
    EXPECT_THAT(rows[0]["failure"].get<std::string>(), HasSubstr("memory_limit_gib"));
    EXPECT_THAT(rows[1]["failure"].get<std::string>(), HasSubstr("parallel.tensor_parallel_degree"));
    expect_measured(rows[2], 2);
    EXPECT_TRUE(rows[3]["median_seconds"].is_null());
    EXPECT_THAT(both.output, HasSubstr("plain, tensor_parallel_degree=3: not measured: "));

    const Outcome none = bench("--ranks 2 --sweep parallel.tensor_parallel_degree=3,5");
    EXPECT_EQ(none.exit_code, 2) << none.output;
    EXPECT_THAT(none.output, HasSubstr("tensor_parallel_degree=5: not measured: "));
    EXPECT_EQ(none.count("smp_bench: error: no configuration could be measured"), 1) << none.output;
}

TEST_F(SmpBench, AnUnknownKeyOfASweepIsASentenceBeforeAnythingRuns) {
    const Outcome outcome = bench("--sweep parallel.microbatchs=1,2", mpirun(2));
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_EQ(outcome.count("smp_bench: error: "), 1) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("parallel.microbatchs is no key; did you mean parallel.microbatches?"));
}

/// Beside its own result with planted times that no machine comes near to, since the spread of a busy one has no bound.
TEST_F(SmpBench, TheBaselineShowsWhatGotSlower) {
    const std::string sweep = "--sweep parallel.microbatches=1,2 ";
    ASSERT_EQ(bench(sweep + "--traced 0 --output before.json").exit_code, 0);
    Json planted = read("before.json");
    const auto plant = [&](int row, double seconds) {
        for (const char* key :
             {"median_seconds", "lower_quartile_seconds", "upper_quartile_seconds", "least_seconds", "most_seconds"})
            planted["rows"][row][key] = seconds;
    };
    planted["rows"][0]["lower_quartile_seconds"] = -1e6;  // nothing is beyond that spread
    plant(1, -1e3);
    folder_.write("planted.json", planted.dump());
    const Outcome slower = bench(sweep + "--traced 0 --baseline planted.json --fail-on-slower");
    EXPECT_EQ(slower.exit_code, 7) << slower.output;
    EXPECT_THAT(slower.output, HasSubstr("\nmicrobatches=2 got slower: "));
    EXPECT_THAT(slower.output, HasSubstr("beside planted.json: 1 slower, 0 faster, 1 within the spread\n"));
    plant(1, 1e3);
    folder_.write("planted.json", planted.dump());
    const Outcome faster = bench(sweep + "--traced 0 --baseline planted.json --fail-on-slower");
    EXPECT_EQ(faster.exit_code, 0) << faster.output;
    EXPECT_THAT(faster.output, HasSubstr("\nmicrobatches=2 got faster: "));
}

/// Ranks that have no part in a row wait for the others.
TEST_F(SmpBench, ScalesOverNumbersOfRanks) {
    for (const std::string& prefix : {std::string(), mpirun(2)}) {
        SCOPED_TRACE(prefix);
        const Outcome outcome = bench("--ranks 2,1 --output out.json", prefix);
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        const Json rows = read("out.json")["rows"];
        ASSERT_EQ(rows.size(), 2U);
        for (int i = 0; i < 2; ++i) expect_measured(rows[i], i + 1);
        EXPECT_EQ(rows[0]["efficiency"], 1.0);
        EXPECT_DOUBLE_EQ(rows[1]["efficiency"].get<double>(),
                         rows[1]["tokens_per_second"].get<double>() / 2 / rows[0]["tokens_per_second"].get<double>());
        EXPECT_THAT(outcome.output, HasSubstr("as configured, 2 ranks"));
        EXPECT_THAT(outcome.output, HasSubstr("strong scaling"));
    }
    const Outcome many = bench("--ranks 1,4", mpirun(2));
    EXPECT_EQ(many.exit_code, 2) << many.output;
    EXPECT_THAT(many.output, HasSubstr("--ranks has 4, but mpirun has started 2"));
}

TEST_F(SmpBench, LinksAreOfEveryPairAndOfAll) {
    for (const std::string& prefix : {std::string(), mpirun(3)}) {
        SCOPED_TRACE(prefix);
        const Outcome outcome =
            in_folder(fmt::format("{}{} links --repeats 3 --bytes 65536 --output out.json{}", prefix,
                                  program("smp_bench"), prefix.empty() ? " --ranks 3" : ""));
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        EXPECT_EQ(outcome.count("slowest pair by latency: ranks "), 1) << outcome.output;
        const Json result = read("out.json");
        EXPECT_EQ(result["hosts"].size(), 3U);
        ASSERT_EQ(result["rows"].size(), 5U);
        EXPECT_EQ(result["rows"][1]["ranks"], Json({0, 2}));
        EXPECT_EQ(result["rows"][3]["what"], "all_reduce");
        EXPECT_EQ(result["rows"][4]["what"], "all_gather");
        for (const Json& row : result["rows"]) {
            EXPECT_GT(row["latency_seconds"].get<double>(), 0);
            EXPECT_GT(row["bytes_per_second"].get<double>(), 0);
        }
    }
    const Outcome alone = in_folder(program("smp_bench") + " links --ranks 1");
    EXPECT_EQ(alone.exit_code, 2) << alone.output;
    EXPECT_THAT(alone.output, HasSubstr("links lie between 2 ranks or more"));
}

TEST_F(SmpBench, OperatorsHaveTheShapesOfARankOfTheJob) {
    const Outcome outcome = in_folder(program("smp_bench") +
                                      " operators --config job.json --repeats 2 --output out.json --set "
                                      "parallel.tensor_parallel_degree=2 --set parallel.microbatches=4");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    const Json rows = read("out.json")["rows"];
    const auto shape = [&](const std::string& name) -> std::string {
        for (const Json& row : rows)
            if (row["name"] == name) return row["shape"];
        return "none";
    };
    // 2 sequences of 16 tokens; width 16, two of four heads of 4, a half of 64, 128 of 256 tokens.
    EXPECT_EQ(shape("linear qkv"), "[32, 16] x [16, 24]");
    EXPECT_EQ(shape("backward weight projection"), "[32, 8] x [8, 16]");
    EXPECT_EQ(shape("linear up"), "[32, 16] x [16, 32]");
    EXPECT_EQ(shape("attention backward"), "2 x 2 heads x [16, 4]");
    EXPECT_EQ(shape("logits"), "[32, 16] x [16, 128]");
    for (const Json& row : rows) {
        EXPECT_GT(row["median_seconds"].get<double>(), 0) << row;
        EXPECT_NE(row["flops_per_second"].is_null(), row["bytes_per_second"].is_null()) << row;
    }
    const Outcome narrow =
        in_folder(program("smp_bench") + " operators --config job.json --repeats 1 --set parallel.bf16=true");
    EXPECT_EQ(narrow.exit_code, 0) << narrow.output;
    EXPECT_THAT(narrow.output, HasSubstr("bf16"));
}

TEST_F(SmpBench, ExplainsItself) {
    for (const std::string command : {"", "links ", "operators ", "report "}) {
        const Outcome help = in_folder(program("smp_bench") + " " + command + "--help");
        EXPECT_EQ(help.exit_code, 0);
        EXPECT_THAT(help.output, HasSubstr("Examples:\n  smp_bench " + command));
    }
    EXPECT_TRUE(in_folder(program("smp_bench") + " links --version").output.starts_with("smp_bench "));
    const Outcome section = in_folder(program("smp_bench") + " --help parallel");
    EXPECT_TRUE(section.output.starts_with("parallel\n")) << section.output;
}

TEST_F(SmpBench, WrongCommandLinesAreSentencesWithExitCode2) {
    const auto refused = [&](const std::string& arguments, const std::string& part) {
        const Outcome outcome = in_folder(program("smp_bench") + " " + arguments);
        EXPECT_EQ(outcome.exit_code, 2) << arguments;
        EXPECT_TRUE(outcome.output.starts_with("smp_bench: error: ")) << outcome.output;
        EXPECT_THAT(outcome.output, HasSubstr(part));
        EXPECT_EQ(outcome.count("\n"), 1) << outcome.output;
    };
    refused("", "--config is missing");
    refused("link", "command \"link\" is unknown: links, operators or report");
    refused("operators", "--config is missing: name the configuration file, as in smp_bench operators");
    refused("--config job.json --ranks 1,x", "--ranks has \"x\"");
    refused("--config job.json --format html", "allowed are text, markdown, json, csv");
    refused("--config job.json --output none/x.json", "create it first");
    refused("--config job.json --fail-on-slower", "add --baseline");
}

}  // namespace
}  // namespace smp::testing
