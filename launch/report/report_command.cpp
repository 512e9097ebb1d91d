#include "launch/report/report_command.h"

#include <filesystem>
#include <fstream>

#include <cxxopts.hpp>
#include <fmt/format.h>

#include "launch/command/config_arguments.h"
#include "launch/command/help.h"
#include "launch/command/standard_output.h"
#include "launch/command/text_table.h"
#include "launch/report/page.h"
#include "launch/report/run_folder.h"
#include "runtime/files/shown_text.h"
#include "runtime/files/text_file.h"

namespace smp::launch {

namespace {

/// What is there may be an earlier report, and nothing else.
void refuse_to_overwrite(const std::filesystem::path& output) {
    std::error_code error;
    if (!std::filesystem::exists(std::filesystem::symlink_status(output, error))) return;
    std::string begin(kReportMark.size(), '\0');
    std::ifstream stream(output, std::ios::binary);
    stream.read(begin.data(), static_cast<std::streamsize>(begin.size()));
    if (!std::filesystem::is_regular_file(std::filesystem::symlink_status(output, error)) || begin != kReportMark)
        refuse_argument("--output", fmt::format("is {}, which exists already and is no report; choose another name, or "
                                                "remove it first",
                                                output.string()));
}

}  // namespace

ReportArguments parse_report_arguments(const std::string& program, int argc, const char* const* argv) {
    cxxopts::Options options(program,
                             "Makes one page about one run, or about several side by side, finished or not:\n"
                             "curves, memory, pipeline, settings, warnings, advice. It needs no network.");
    options.add_options()  //
        ("output", "the page (default: report.html in the folder of the run; of several: in this folder)",
         cxxopts::value<std::string>(), "FILE")  //
        ("h,help", "this text");
    options.add_options("paths")("path", "", cxxopts::value<std::vector<std::string>>());
    options.parse_positional({"path"});
    options.positional_help("RUN...");
    options.set_width(help_width());
    ReportArguments arguments;
    try {
        const auto parsed = options.parse(argc, argv);
        if (parsed.count("help") != 0) {
            arguments.answer = options.help({""}) + fmt::format(
                                                        "\nExamples:\n  {0} runs/job\n  {0} runs/job runs/other "
                                                        "--output both.html\n",
                                                        program);
            return arguments;
        }
        for (const auto& argument : parsed.arguments())  // cxxopts itself would cut them at commas
            if (argument.key() == "path") arguments.runs.push_back(argument.value());
        if (parsed.count("output") != 0) arguments.output = parsed["output"].as<std::string>();
    } catch (const std::exception& error) {  // the class has another name in each version of cxxopts
        refuse_argument("command line:", fmt::format("{}; see {} --help", error.what(), program));
    }
    if (arguments.runs.empty())
        refuse_argument("RUN",
                        fmt::format("is missing: name the output directory of a training, as in {} runs/job", program));
    if (arguments.output.empty())
        arguments.output = arguments.runs.size() == 1
                               ? (std::filesystem::path(arguments.runs[0]) / kReportFile).string()
                               : std::string(kReportFile);
    return arguments;
}

void write_report(const ReportArguments& arguments) {
    refuse_to_overwrite(arguments.output);
    std::vector<RunFolder> runs;
    for (const std::string& run : arguments.runs) runs.push_back(read_run(run));
    runtime::write_text(arguments.output, report_html(runs));
    write_standard_output(fmt::format("{}: the report of {}\n", runtime::escaped(arguments.output),
                                      counted(static_cast<std::int64_t>(runs.size()), "run")));
}

}  // namespace smp::launch
