// If these fail, a report is written over something else, or ends a training.
#include "launch/report/report_command.h"

#include <gmock/gmock.h>

#include "launch/report/page.h"
#include "launch/report/report_file.h"
#include "partition/job/problem.h"
#include "runtime/files/data_error.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::launch {
namespace {

using smp::testing::content;
using smp::testing::ScratchFolder;
using ::testing::HasSubstr;
using ::testing::StartsWith;

ReportArguments parsed(const std::vector<std::string>& words) {
    std::vector<const char*> argv = {"report"};
    for (const std::string& word : words) argv.push_back(word.c_str());
    return parse_report_arguments("smp_bench report", static_cast<int>(argv.size()), argv.data());
}

TEST(ReportCommand, WritesWhereItIsToldAndOverReportsOnly) {
    EXPECT_EQ(parsed({"runs/a"}).output, "runs/a/report.html");
    EXPECT_EQ(parsed({"runs/a,b", "runs/c"}).output, "report.html");
    EXPECT_EQ(parsed({"runs/a,b", "runs/c"}).runs, (std::vector<std::string>{"runs/a,b", "runs/c"}));
    EXPECT_THAT(parsed({"--help"}).answer.value_or(""), HasSubstr("smp_bench report runs/job"));
    EXPECT_THROW(parsed({}), partition::ConfigError);
    EXPECT_THROW(parsed({"run", "--colour", "red"}), partition::ConfigError);

    const ScratchFolder folder;
    EXPECT_THROW(write_report(parsed({(folder / "").string()})), runtime::DataError);  // no run
    folder.write("metrics.jsonl", "{\"step\":1,\"loss\":4}\n");
    folder.write("mine.html", "mine");
    const auto report = [&](const std::string& output) {
        write_report(parsed({(folder / "").string(), "--output", (folder / output).string()}));
    };
    EXPECT_THROW(report("mine.html"), partition::ConfigError);
    EXPECT_THROW(report(""), partition::ConfigError);
    EXPECT_EQ(content(folder / "mine.html"), "mine");
    report("new.html");
    folder.write("metrics.jsonl", "{\"step\":1,\"loss\":4}\n{\"step\":2,\"loss\":3}\n");
    report("new.html");
    EXPECT_THAT(content(folder / "new.html"), StartsWith(std::string(kReportMark)));
    EXPECT_THAT(content(folder / "new.html"), HasSubstr("[2,3]"));
}

TEST(ReportFile, ThatCannotBeWrittenIsASentence) {
    const ScratchFolder folder;
    folder.write("metrics.jsonl", "{\"step\":1,\"loss\":4}\n");
    std::vector<std::string> told;
    ReportFile file(folder / "", [&](const std::string& sentence) { told.push_back(sentence); });
    file.finished({});
    EXPECT_THAT(content(folder / "report.html"), StartsWith(std::string(kReportMark)));
    std::filesystem::remove(folder / "report.html");
    std::filesystem::create_directories(folder / "report.html/full");
    file.finished({});
    ReportFile elsewhere(folder / "none", [&](const std::string& sentence) { told.push_back(sentence); });
    elsewhere.finished({});
    ASSERT_EQ(told.size(), 2U);
    for (const std::string& sentence : told) EXPECT_THAT(sentence, StartsWith("warning: there is no report.html: "));
}

}  // namespace
}  // namespace smp::launch
