// The report: one page about one run, or about several side by side.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/report/run_folder.h"

namespace smp::launch {

/// The name of a report, in the folder of its run.
inline constexpr const char* kReportFile = "report.html";

/// What a report begins with, by which it is known.
inline constexpr std::string_view kReportMark = "<!doctype html><!-- smp report -->";

/// HTML that needs nothing from elsewhere, for wide and narrow, light and dark screens; text of the runs is escaped.
/// What is drawn of the metrics stands as JSON in <script id="smp-data">: {"version": 1, "charts": [{"title", "unit",
/// "lines": [{"run", "column", "label"}]}], "runs": [{"name", "steps", "columns": {name: [[step, value], …]}}]}, with
/// all values where there are at most 600 (curve.h). Equal runs give equal text. `runs` is not empty.
std::string report_html(const std::vector<RunFolder>& runs);

}  // namespace smp::launch
