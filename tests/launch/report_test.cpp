// If these fail, the report of a run shows other numbers than the run had, or a browser does not show it.
#include <cmath>
#include <limits>

#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include "launch/report/charts.h"
#include "launch/report/curve.h"
#include "launch/report/page.h"
#include "runtime/files/data_error.h"
#include "tests/launch/report_files.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/well_formed.h"

namespace smp::launch {
namespace {

using smp::testing::data_in_report;
using smp::testing::ScratchFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string report_of(const ScratchFolder& folder) { return report_html({read_run(folder / "")}); }

constexpr const char* kConfig = R"({"training": {"steps": 50}, "parallel": {"microbatches": 4}})";

TEST(Report, HasEveryNumberOfAShortRun) {
    const ScratchFolder folder;
    folder.write("config.json", kConfig);
    std::string lines;
    for (int step = 1; step <= 50; ++step)
        lines += fmt::format(
            "{{\"step\":{0},\"loss\":{1},\"tokens\":{2},\"mfu\":null,\"never_seen_before\":{3},\"place\":\"x\"{4}}}\n",
            step, 10.0 / 3 / step, 64 * step, std::sqrt(step), step % 20 == 0 ? ",\"validation_loss\":0.1" : "");
    folder.write("metrics.jsonl", lines + "{\"step\":51,\"lo");  // torn
    const std::string html = report_of(folder);
    const auto data = data_in_report(html);
    ASSERT_EQ(data["runs"].size(), 1U);
    EXPECT_EQ(data["runs"][0]["steps"], 50);
    EXPECT_EQ(smp::testing::numbers_in_report(data["runs"][0]), smp::testing::numbers_in_metrics(lines));
    EXPECT_THAT(html, HasSubstr("step 50 of 50"));
    for (const char* title : {"Loss", "Never seen before"})
        EXPECT_THAT(html, HasSubstr(fmt::format("<h3>{}</h3>", title)));
    EXPECT_THAT(html, Not(HasSubstr("Utilization")));
    for (const std::string& picture : smp::testing::pictures_in_report(html))
        EXPECT_EQ(smp::testing::fault_of_xml(picture), "");
}

TEST(Report, OfAHundredThousandStepsIsSmallAndKeepsExtremes) {
    const ScratchFolder folder;
    constexpr int kSteps = 100'000;
    std::string lines;
    for (int step = 1; step <= kSteps; ++step) {
        lines += fmt::format("{{\"step\":{},\"loss\":{}", step, step == 77'777 ? 1e3 : 3 + std::sin(step));
        for (int column = 0; column < 20; ++column)
            lines += fmt::format(",\"column_{}\":{}", column, std::cos(step * column + 0.1));
        lines += "}\n";
    }
    folder.write("metrics.jsonl", lines);
    const std::string html = report_of(folder);
    EXPECT_LT(html.size(), 2'000'000U);
    const auto data = data_in_report(html);
    auto columns = smp::testing::numbers_in_report(data["runs"][0]);
    const auto all = smp::testing::numbers_in_metrics(lines);
    ASSERT_EQ(columns.size(), all.size());
    const auto value = [](const auto& point) { return point.second; };
    for (const auto& [name, points] : all) {
        EXPECT_EQ(columns[name].front(), points.front());
        EXPECT_EQ(columns[name].back(), points.back());
        EXPECT_EQ(std::ranges::max(columns[name], {}, value).second, std::ranges::max(points, {}, value).second);
        EXPECT_EQ(std::ranges::min(columns[name], {}, value).second, std::ranges::min(points, {}, value).second);
        EXPECT_TRUE(std::ranges::is_sorted(columns[name], {}, [](const auto& point) { return point.first; }));
    }
    EXPECT_THAT(columns["loss"], ::testing::Contains(std::pair(77'777.0, 1e3)));
}

TEST(Report, ACurveOfEqualValuesOrHolesIsOne) {
    const std::vector<double> steps = {1, 2, 3, 4};
    const double none = std::numeric_limits<double>::quiet_NaN();
    EXPECT_THAT(curve_of(steps, std::vector<double>{5, none, 5, 5}),
                ElementsAre(CurvePoint{1, 5}, CurvePoint{3, 5}, CurvePoint{4, 5}));
    EXPECT_THAT(curve_of(steps, std::vector<double>{none, none, none, none}), ElementsAre());
    std::vector<double> many_steps, many;
    for (int i = 0; i < 1000; ++i) {
        many_steps.push_back(i);
        many.push_back(i == 501 ? -1 : i == 502 ? 9 : 0);
    }
    const auto curve = curve_of(many_steps, many, 10);
    EXPECT_LE(curve.size(), 22U);
    EXPECT_THAT(curve, ::testing::IsSupersetOf(
                           {CurvePoint{0, 0}, CurvePoint{501, -1}, CurvePoint{502, 9}, CurvePoint{999, 0}}));
    EXPECT_THAT(means_of(many_steps, many, 2), ElementsAre(CurvePoint{249.5, 0}, CurvePoint{749.5, 8.0 / 500}));
    EXPECT_THAT(means_of(steps, steps), ElementsAre());
    for (const std::vector<CurvePoint>& points : {std::vector<CurvePoint>{}, {{1, 0}}, {{1, 5}, {2, 5}}})
        EXPECT_EQ(smp::testing::fault_of_xml(chart_svg("t", ChartUnit::plain, {{.label = "l", .points = points}}, 0)),
                  "");
}

TEST(Report, KnownColumnsAreGroupedAndEveryOtherHasAChart) {
    const auto charts = charts_of({"tokens", "new_bytes", "validation_loss", "seconds", "loss", "predicted_seconds"});
    std::vector<std::string> shown;
    for (const ChartPlan& chart : charts)
        shown.push_back(fmt::format("{}: {}", chart.title, fmt::join(chart.columns, ", ")));
    EXPECT_THAT(shown, ElementsAre("Loss: loss, validation_loss", "Time of a step: seconds, predicted_seconds",
                                   "New bytes: new_bytes"));
    EXPECT_EQ(charts.back().unit, ChartUnit::bytes);
}

TEST(Report, TextOfARunIsText) {
    const ScratchFolder folder;
    const std::string evil = "</script><script>alert(1)</script><b>&\"'";
    nlohmann::json facts = {{"version", 1},
                            {"state", evil},
                            {"steps", 1},
                            {"settings", nlohmann::json::array({nlohmann::json::array({evil, evil})})},
                            {"warnings", {evil}},
                            {"notes", {evil}},
                            {"advice", {evil}},
                            {"memory", nlohmann::json::array()},
                            {"samples", {{{"step", 1}, {"text", evil}}}}};
    folder.write("run.json", facts.dump());
    folder.write("config.json", nlohmann::json{{"data", {{evil, evil}}}}.dump());
    folder.write("metrics.jsonl", nlohmann::json{{"step", 1}, {evil, 2}}.dump() + "\n");
    folder.write("log.txt", evil);
    const std::string html = report_of(folder);
    EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
    EXPECT_THAT(html, Not(HasSubstr("<b>&\"")));
    EXPECT_EQ(data_in_report(html)["runs"][0]["columns"][evil][0][1], 2);
    std::size_t seen = 0;
    const std::string shown = "&lt;script&gt;alert(1)";
    for (std::size_t at = html.find(shown); at != std::string::npos; at = html.find(shown, at + 1)) ++seen;
    EXPECT_GE(seen, 10U);  // state, setting (two), warning, note, advice, sample, key (two), column, log
    // Nothing is fetched.
    for (const char* part : {"http:", "https:", "src=", "@import", "url(h"}) {
        std::string rest = html;
        for (const std::string own : {"http://www.w3.org/2000/svg"})
            for (std::size_t at; (at = rest.find(own)) != std::string::npos;) rest.erase(at, own.size());
        EXPECT_THAT(rest, Not(HasSubstr(part)));
    }
}

TEST(Report, MemoryStandsPredictedBesideMeasured) {
    const ScratchFolder folder;
    folder.write("config.json", kConfig);
    folder.write("run.json",
                 R"({"state": "running", "settings": [], "warnings": [], "notes": [], "advice": [], "samples": [],
        "memory": [{"stage": 0, "predicted": {"peak": 3072, "parameters": 2048, "other": 1024},
                    "measured": {"peak": 4096, "parameters": 2048, "other": 3072}},
                   {"stage": 1, "predicted": {"peak": 512, "parameters": 512}}]})");
    const std::string html = report_of(folder);
    EXPECT_THAT(html,
                HasSubstr("<tr><td>0</td><td>predicted</td><td>3.00 KiB</td><td>2.00 KiB</td><td>1.00 KiB</td></tr>"));
    EXPECT_THAT(html, HasSubstr("<tr><td></td><td>measured</td><td>4.00 KiB</td><td>2.00 KiB</td><td "
                                "class=\"differs\">3.00 KiB</td></tr>\n<tr><td>1</td><td>predicted"));
    EXPECT_THAT(html, HasSubstr("no step yet, running"));
}

TEST(Report, SeveralRunsShareChartsAndShowWhereTheyDiffer) {
    const ScratchFolder one, two;
    one.write("config.json", R"({"training": {"steps": 2, "seed": 1}, "parallel": {"microbatches": 4}})");
    two.write("config.json", R"({"training": {"steps": 2, "seed": 1}, "parallel": {"microbatches": 8}})");
    one.write("metrics.jsonl", "{\"step\":1,\"loss\":4}\n{\"step\":2,\"loss\":3}\n");
    two.write("metrics.jsonl", "{\"step\":1,\"loss\":5,\"bubble\":0.5}\n");
    const std::string html = report_html({read_run(one / ""), read_run(two / "")});
    const auto data = data_in_report(html);
    ASSERT_EQ(data["runs"].size(), 2U);
    EXPECT_EQ(data["charts"][0]["lines"].size(), 2U);
    EXPECT_EQ(data["charts"][1]["lines"][0]["run"], 1);
    EXPECT_THAT(html, HasSubstr("<td>parallel.microbatches</td><td>4</td><td>8</td>"));
    EXPECT_THAT(html, Not(HasSubstr("<td>training.seed</td>")));
    EXPECT_THAT(html, HasSubstr("<td>loss</td><td>3</td><td>5</td>"));
    EXPECT_THAT(html, HasSubstr("<td>bubble</td><td>-</td><td>50 %</td>"));
}

TEST(Report, WhatCannotBeReadIsSaidAndTheRestShown) {
    const ScratchFolder folder;
    EXPECT_THROW(read_run(folder / ""), runtime::DataError);
    folder.write("metrics.jsonl", "{\"step\":1,\"loss\":4}\nno json\n[1]\n{\"loss\":1}\n{\"step\":2,\"loss\":3}\n");
    EXPECT_THAT(report_of(folder), Not(HasSubstr("is not shown")));
    folder.write("run.json", "{\"state\": 5}");
    folder.write("plan.json", "{}");
    folder.write("config.json", "nothing");
    folder.write("trace.json", "{\"ph\":\"X\"}\n");
    const std::string html = report_of(folder);
    EXPECT_THAT(html, HasSubstr("run.json is not shown: "));
    EXPECT_THAT(html, HasSubstr("the timeline is not shown: "));
    EXPECT_THAT(smp::testing::numbers_in_report(data_in_report(html)["runs"][0])["loss"],
                ElementsAre(std::pair(1.0, 4.0), std::pair(2.0, 3.0)));
}

}  // namespace
}  // namespace smp::launch
