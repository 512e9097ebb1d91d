#include "launch/report/report_file.h"

#include <exception>
#include <utility>

#include <fmt/format.h>

#include "launch/report/page.h"
#include "launch/report/run_folder.h"
#include "runtime/files/text_file.h"

namespace smp::launch {

ReportFile::ReportFile(std::filesystem::path run, std::function<void(const std::string&)> tell)
    : run_(std::move(run)), tell_(std::move(tell)) {}

void ReportFile::started(const runtime::RunStart& /*run*/) {
    std::error_code error;  // what cannot be removed is replaced
    std::filesystem::remove(run_ / kReportFile, error);
}

void ReportFile::finished(const runtime::RunEnd& /*end*/) {
    try {
        runtime::write_text_soon(run_ / kReportFile, report_html({read_run(run_)}));
    } catch (const std::exception& error) {
        tell_(fmt::format("warning: there is no {}: {}", kReportFile, error.what()));
    }
}

}  // namespace smp::launch
