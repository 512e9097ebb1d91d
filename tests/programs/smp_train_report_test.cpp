// What a run leaves for a person to look at says what the run was.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/report_files.h"
#include "tests/programs/program.h"
#include "tests/well_formed.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;

class SmpTrainReport : public ::testing::Test {
  protected:
    Outcome train(const std::string& options) const {
        return run(fmt::format("{} --config {} --output {} {}", program("smp_train"), job_, folder_ / "out", options));
    }

    Folder folder_;
    std::string job_ = folder_.write("job.json", R"({
        "model": {"n_layer": 4, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 256},
        "parallel": {"pipeline_parallel_degree": 2, "microbatches": 4, "active_microbatches": 1},
        "training": {"steps": 4, "global_batch_size": 4, "evaluate_every": 2, "sample_tokens": 3, "sample_prompt": "<i>"},
        "data": {"train": ")" SMP_SOURCE_DIR R"(/configs/data/shakespeare.txt", "validation_fraction": 0.1}})");
};

TEST_F(SmpTrainReport, HasTheNumbersTheTimelinesAndTheMemoryOfTheRun) {
    const Outcome outcome = train("--set logging.trace_steps=[2,3]");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    const std::string html = read_text(folder_ / "out/report.html");
    const auto data = data_in_report(html);
    const auto numbers = numbers_in_metrics(read_text(folder_ / "out/metrics.jsonl"));
    EXPECT_EQ(numbers.at("loss").size(), 4U);
    EXPECT_EQ(numbers.at("validation_loss").size(), 2U);
    EXPECT_EQ(numbers_in_report(data["runs"][0]), numbers);

    for (const char* part :
         {"Step 3 as it ran", "The plan of a step", "interleaved on 2 stages", "rank 1 (pp 1, tp 0, rdp 0)",
          "at the speed that step 3 computed with", "step 4 of 4, finished", "&lt;i&gt;", "2 pipeline x 1 tensor"})
        EXPECT_THAT(html, HasSubstr(part));
    for (const std::string& picture : pictures_in_report(html)) EXPECT_EQ(fault_of_xml(picture), "");
    // Of both timelines each computation is there: 4 microbatches forwards and backwards on 2 rows.
    const auto pictures = pictures_in_report(html);
    for (const char* title : {"Step 3 as it ran", "The plan of a step"}) {
        const auto picture = std::ranges::find_if(pictures, [&](const std::string& svg) {
            return svg.find(std::string(">") + title + "<") != std::string::npos;
        });
        ASSERT_NE(picture, pictures.end()) << title;
        int bars = 0;
        for (const std::string fill : {"fill=\"#6cb4ee\" d=\"", "-1)\" d=\""})
            for (std::size_t at = picture->find(fill); at != std::string::npos; at = picture->find(fill, at + 1))
                bars += static_cast<int>(std::ranges::count(picture->substr(at, picture->find("/>", at) - at), 'M'));
        EXPECT_EQ(bars, 16) << title;
    }

    const auto facts = nlohmann::json::parse(read_text(folder_ / "out/run.json"));
    EXPECT_EQ(facts["state"], "finished");
    EXPECT_EQ(facts["steps"], 4);
    ASSERT_EQ(facts["memory"].size(), 2U);
    double measured = 0, predicted = 0;
    for (const auto& stage : facts["memory"]) {
        measured = std::max(measured, stage["measured"]["peak"].get<double>());
        predicted = std::max(predicted, stage["predicted"]["peak"].get<double>());
        EXPECT_EQ(stage["measured"]["parameters"], stage["predicted"]["parameters"]);
    }
    EXPECT_EQ(measured, numbers.at("memory_bytes").back().second);
    EXPECT_EQ(predicted, numbers.at("predicted_memory_bytes").back().second);
    ASSERT_EQ(facts["samples"].size(), 2U);
    EXPECT_THAT(facts["samples"][0]["text"].get<std::string>(), ::testing::StartsWith("<i>"));
    // One microbatch at a time keeps one of two stages idle: that is said before the run, and after it what would help.
    EXPECT_THAT(facts["warnings"].dump(), HasSubstr("cannot keep 2 stages busy"));
    ASSERT_FALSE(facts["advice"].empty());
    const auto advice = facts["advice"][0].get<std::string>();
    EXPECT_THAT(advice, HasSubstr("parallel.active_microbatches = 2 instead of 1"));
    EXPECT_THAT(outcome.output, HasSubstr("advice: " + advice));
    EXPECT_THAT(read_text(folder_ / "out/log.txt"), HasSubstr("advice: " + advice));
    EXPECT_THAT(html, HasSubstr("parallel.active_microbatches = 2 instead of 1"));
}

TEST_F(SmpTrainReport, AnotherRunsReportIsNotTakenForIts) {
    ASSERT_EQ(train("").exit_code, 0);
    EXPECT_THAT(read_text(folder_ / "out/report.html"), HasSubstr("predicted at an assumed speed"));
    ASSERT_EQ(train("--resume never --set training.steps=1").exit_code, 0);
    EXPECT_THAT(read_text(folder_ / "out/report.html"), HasSubstr("step 1 of 1"));
    EXPECT_THAT(read_text(folder_ / "out/earlier/1/report.html"), HasSubstr("step 4 of 4"));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "out/earlier/1/run.json"));
    // Both beside each other.
    const std::string both = folder_ / "both.html";
    const Outcome made = run(fmt::format("{} report {} {} --output {}", program("smp_bench"), folder_ / "out",
                                         folder_ / "out/earlier/1", both));
    ASSERT_EQ(made.exit_code, 0) << made.output;
    const auto data = data_in_report(read_text(both));
    ASSERT_EQ(data["runs"].size(), 2U);
    EXPECT_EQ(numbers_in_report(data["runs"][0]).at("loss").size(), 1U);
    EXPECT_EQ(numbers_in_report(data["runs"][1]).at("loss").size(), 4U);
    const Outcome none = run(fmt::format("{} report {}", program("smp_bench"), folder_ / "nowhere"));
    EXPECT_EQ(none.exit_code, 3) << none.output;
    EXPECT_TRUE(none.output.starts_with("smp_bench: error: ")) << none.output;
}

}  // namespace
}  // namespace smp::testing
