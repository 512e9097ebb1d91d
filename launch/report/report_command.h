// report RUN…: the report of runs, made from what they have left so far.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace smp::launch {

struct ReportArguments {
    std::vector<std::string> runs;  // output directories of trainings
    std::string output;             // of one run: its report.html unless given; of several: report.html
    /// Text to print instead of making a report: --help.
    std::optional<std::string> answer;
};

/// The command line behind the program's name: argv[0] is "report". `program` begins its lines in the help:
/// "smp_bench report". Throws partition::ConfigError.
ReportArguments parse_report_arguments(const std::string& program, int argc, const char* const* argv);

/// Writes the report and prints where it is. Throws runtime::DataError for a folder without a run, and
/// partition::ConfigError for an output that is there and no report.
void write_report(const ReportArguments& arguments);

}  // namespace smp::launch
