// report.html of a run, when it has ended.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "runtime/records/recorder.h"

namespace smp::launch {

class ReportFile final : public runtime::Recorder {
  public:
    /// Among the recorders behind those that write what it reads: run.json, metrics.jsonl, trace.json. `tell` gets a
    /// sentence where the report could not be written, which is no reason for a run to fail.
    ReportFile(std::filesystem::path run, std::function<void(const std::string&)> tell);

    /// A report of the run that was here before would be mistaken for its own.
    void started(const runtime::RunStart& run) override;
    void finished(const runtime::RunEnd& end) override;

  private:
    std::filesystem::path run_;
    std::function<void(const std::string&)> tell_;
};

}  // namespace smp::launch
