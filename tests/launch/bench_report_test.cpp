#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/job_report.h"
#include "launch/bench/report.h"

namespace smp::launch {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

Report small() {
    Report report;
    report.facts = {{"program", "p"}};
    report.head = {"head"};
    report.columns = {{"name", "name", 0, true}, {"raw", ""}, {"rate", "rate"}, {"unknown", "unknown"}, {"m", "m", 1}};
    report.rows = {{{{"a, \"b\"", "a, \"b\""}, {"", Json{1, 2}}, {"1.50", 1.5}, {}, {"3 B", 3}}},
                   {{{"c|d", "c|d"}, {}, {}, {}, {"4 B", 4}}},
                   {{{"folded", "folded"}, {}, {}, {}, {"5 B", 5}}, /*is_folded=*/true}};
    report.remarks = {"remark"};
    return report;
}

TEST(BenchReport, TextHasTablesOfWhatIsKnown) {
    EXPECT_EQ(in_format(small(), ReportFormat::text),
              "head\n"
              "\n"
              "name    rate\n"
              "a, \"b\"  1.50\n"
              "c|d        -\n"
              "\n"
              "name      m\n"
              "a, \"b\"  3 B\n"
              "c|d     4 B\n"
              "\n"
              "remark\n");
}

TEST(BenchReport, MarkdownHasTheSame) {
    const std::string text = in_format(small(), ReportFormat::markdown);
    EXPECT_THAT(text, HasSubstr("| name | rate |\n| --- | ---: |\n| a, \"b\" | 1.50 |\n| c\\|d | - |\n"));
    EXPECT_THAT(text, HasSubstr("\n- remark\n"));
}

TEST(BenchReport, CsvAndJsonHaveEverything) {
    EXPECT_EQ(in_format(small(), ReportFormat::csv),
              "name,raw,rate,unknown,m\n\"a, \"\"b\"\"\",1 2,1.5,,3\nc|d,,,,4\nfolded,,,,5\n");
    const Json document = Json::parse(in_format(small(), ReportFormat::json));
    EXPECT_EQ(document["program"], "p");
    EXPECT_EQ(document["rows"].size(), 3U);
    EXPECT_EQ(document["rows"][0]["raw"], Json({1, 2}));
    EXPECT_TRUE(document["rows"][1]["rate"].is_null());
    EXPECT_EQ(document["remarks"][0], "remark");
}

/// Steps of `seconds` by `ranks` ranks, of a batch that grows with them or does not.
Measurement measured(int ranks, double seconds, std::int64_t global_batch) {
    Measurement row{.variant = {.name = "n", .sets = {}}, .ranks = ranks};
    row.seconds = {seconds};
    row.global_batch = global_batch;
    row.tokens = 100 * global_batch;
    row.flops_per_token = 1e9;
    return row;
}

TEST(JobReport, UtilisationIsModelFlopsOverThePeakOfAllRanks) {
    // 400 tokens in 0.5 s, 1 GFLOP a token: 800 GFLOP/s of 2 · 1 TFLOP/s.
    EXPECT_DOUBLE_EQ(utilisation(measured(2, 0.5, 4), 1e12).value(), 0.4);
    EXPECT_EQ(utilisation(measured(2, 0.5, 4), std::nullopt), std::nullopt);
}

TEST(JobReport, EfficiencyIsTokensARankBesideTheFewestRanks) {
    const std::vector<Measurement> strong = {measured(1, 1.0, 8), measured(2, 0.5, 8), measured(4, 0.5, 8)};
    EXPECT_DOUBLE_EQ(efficiency(strong[0], strong).value(), 1.0);
    EXPECT_DOUBLE_EQ(efficiency(strong[1], strong).value(), 1.0);
    EXPECT_DOUBLE_EQ(efficiency(strong[2], strong).value(), 0.5);
    EXPECT_EQ(efficiency(strong[0], {strong[0]}), std::nullopt);
    const std::vector<Measurement> weak = {measured(1, 1.0, 8), measured(2, 1.25, 16)};
    EXPECT_DOUBLE_EQ(efficiency(weak[1], weak).value(), 0.8);
    // The fewest may be what could not be measured.
    Measurement failed{.variant = {.name = "n", .sets = {}}, .ranks = 1};
    failed.failure = "does not fit";
    EXPECT_DOUBLE_EQ(efficiency(strong[2], {failed, strong[1], strong[2]}).value(), 0.5);

    const JobFacts facts{
        .program = "p", .config = "c", .measuring = {}, .peak_flops = {}, .hosts = {"h", "h"}, .load = 0};
    EXPECT_THAT(job_report(facts, strong).remarks, Contains(HasSubstr("strong scaling")));
    EXPECT_THAT(job_report(facts, weak).remarks, Contains(HasSubstr("weak scaling")));
}

/// A difference within the spread is none to build on, nor what a busy machine says.
TEST(JobReport, SaysWhatTheFastestCannotBeToldFrom) {
    std::vector<Measurement> rows = {measured(1, 1.0, 8), measured(1, 1.0, 8), measured(1, 1.0, 8)};
    rows[0].seconds = {0.9, 1.0, 1.1};
    rows[1].seconds = {0.95, 1.05, 1.15};
    rows[2].seconds = {1.1, 1.2, 1.3};
    rows[1].variant.name = "near";
    rows[2].variant.name = "far";
    JobFacts facts{.program = "p", .config = "c", .measuring = {}, .peak_flops = {}, .hosts = {"h"}, .load = 0.4};
    EXPECT_THAT(job_report(facts, rows).remarks, Contains("most tokens/s: n; within the spread of it: near"));
    EXPECT_THAT(job_report(facts, rows).remarks, Not(Contains(HasSubstr("busy"))));
    facts.load = 3;
    EXPECT_THAT(job_report(facts, rows).remarks, Contains(HasSubstr("busy before: a load of 3.0")));
}

TEST(JobReport, WhatCouldNotBeMeasuredIsARowWithItsSentence) {
    Measurement failed{.variant = {.name = "bad", .sets = {"a.b=1"}}, .ranks = 1};
    failed.failure = "one\ntwo";
    const JobFacts facts{.program = "p", .config = "c", .measuring = {}, .peak_flops = {}, .hosts = {"h"}, .load = 0};
    const Report report = job_report(facts, {failed, measured(1, 1.0, 8)});
    EXPECT_THAT(report.remarks, Contains("bad: not measured: one; two"));
    EXPECT_THAT(report.remarks, Contains(HasSubstr("MFU: unknown")));
    EXPECT_THAT(in_format(report, ReportFormat::text), Not(HasSubstr("MFU  ")));
    const Json document = Json::parse(in_format(report, ReportFormat::json));
    EXPECT_EQ(document["rows"][0]["failure"], "one\ntwo");
    EXPECT_TRUE(document["rows"][0]["median_seconds"].is_null());
    EXPECT_EQ(document["rows"][0]["overrides"], Json({"a.b=1"}));
    EXPECT_TRUE(document["rows"][1]["failure"].is_null());
    EXPECT_EQ(document["rows"][1]["median_seconds"], 1.0);
}

}  // namespace
}  // namespace smp::launch
