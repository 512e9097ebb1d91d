#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/comparison.h"
#include "launch/bench/job_report.h"
#include "runtime/files/data_error.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::launch {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::ScratchFolder;

/// Steps whose median is `seconds`, with quartiles 1 % around it.
Measurement row(const std::string& set, int ranks, double seconds) {
    Measurement row{.variant = {.name = set, .sets = {set}}, .ranks = ranks};
    row.configuration = "parallel.microbatches=4\ntraining.seed=1\n";
    row.tokens = 1000;
    row.global_batch = 10;
    row.seconds = {0.98 * seconds, 0.99 * seconds, seconds, 1.01 * seconds, 1.02 * seconds};
    return row;
}

JobFacts facts() {
    return {.program = "smp_bench", .config = "job.json", .measuring = {}, .peak_flops = {}, .hosts = {"a"}, .load = 0};
}

Baseline written_and_read(const std::vector<Measurement>& rows) {
    const ScratchFolder folder;
    return read_baseline(folder.write("before.json", in_format(job_report(facts(), rows), ReportFormat::json)));
}

TEST(BenchComparison, ChangesAreBeyondBothSpreadsAndTwoPercent) {
    const Spread narrow{.median = 1, .lower_quartile = 0.999, .upper_quartile = 1.001};
    const auto moved = [](Spread spread, double by) {
        spread.median += by;
        spread.lower_quartile += by;
        spread.upper_quartile += by;
        return spread;
    };
    EXPECT_EQ(change_of(narrow, moved(narrow, 0.0199)), Change::none);
    EXPECT_EQ(change_of(narrow, moved(narrow, 0.0201)), Change::slower);
    EXPECT_EQ(change_of(narrow, moved(narrow, -0.0201)), Change::faster);
    const Spread wide{.median = 1, .lower_quartile = 0.95, .upper_quartile = 1.05};
    EXPECT_EQ(change_of(wide, moved(wide, 0.099)), Change::none);
    EXPECT_EQ(change_of(wide, moved(wide, 0.101)), Change::slower);
    EXPECT_EQ(change_of(wide, moved(narrow, 0.052)), Change::slower);
    EXPECT_EQ(change_of(wide, moved(narrow, -0.050)), Change::none);
}

TEST(BenchComparison, AResultBesideItselfHasNoChanges) {
    const std::vector<Measurement> rows = {row("a.b=1", 1, 0.1), row("a.b=2", 1, 0.2)};
    const Changes changes = changes_since(written_and_read(rows), rows);
    EXPECT_EQ(changes.slower, 0U);
    EXPECT_THAT(changes.sentences, Contains(HasSubstr("0 slower, 0 faster, 2 within the spread")));
}

TEST(BenchComparison, NamesWhatGotSlowerAndFaster) {
    const Baseline before = written_and_read({row("a.b=1", 1, 0.1), row("a.b=1", 2, 0.1), row("a.b=2", 1, 0.2)});
    const Changes changes = changes_since(
        before, {row("a.b=1", 1, 0.11), row("a.b=1", 2, 0.1), row("a.b=2", 1, 0.15), row("a.b=3", 1, 0.15)});
    EXPECT_EQ(changes.slower, 1U);
    EXPECT_THAT(changes.sentences, Contains("a.b=1, 1 rank got slower: 100 ms a step before, 110 ms now (+10.0 %)"));
    EXPECT_THAT(changes.sentences, Contains(HasSubstr("a.b=2, 1 rank got faster: 200 ms")));
    EXPECT_THAT(changes.sentences, Contains(HasSubstr("1 slower, 1 faster, 1 within the spread")));
    EXPECT_THAT(changes.sentences, Contains(::testing::AllOf(HasSubstr("not measured in"), HasSubstr("a.b=3"))));
    EXPECT_THAT(changes.sentences, Contains(kChangeRule));
}

TEST(BenchComparison, SaysThatTheJobIsAnother) {
    Measurement other = row("a.b=1", 1, 0.1);
    other.configuration = "parallel.microbatches=8\ntraining.seed=1\n";
    const Changes changes = changes_since(written_and_read({row("a.b=1", 1, 0.1)}), {other});
    EXPECT_THAT(changes.sentences, Contains(HasSubstr("is of another job: parallel.microbatches: 4 -> 8")));
}

TEST(BenchComparison, WhatIsNoResultIsASentence) {
    const ScratchFolder folder;
    for (const std::string text : {"", "[1]", "{}", R"({"configurations": [], "rows": [{"median_seconds": 1}]})"}) {
        const auto file = folder.write("x.json", text);
        EXPECT_THROW(read_baseline(file), runtime::DataError) << text;
    }
    EXPECT_THROW(read_baseline(folder / "none.json"), runtime::DataError);
}

}  // namespace
}  // namespace smp::launch
