// What a run was, and what its steps were, in its folder: config.json, plan.json, metrics.jsonl (INTERFACE §4).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "runtime/records/recorder.h"
#include "runtime/records/run_directory.h"

namespace smp::runtime {

/// Repeats the run: the configuration and the plan that it executes.
class RunDescription final : public Recorder {
  public:
    /// `directory` must outlive it; `config_json` is the resolved configuration.
    RunDescription(const RunDirectory& directory, std::string config_json);
    void started(const RunStart& run) override;

  private:
    const RunDirectory& directory_;
    std::string config_json_;
};

/// A line a step, on disk when the step is reported.
class MetricsFile final : public Recorder {
  public:
    explicit MetricsFile(std::filesystem::path path);
    void started(const RunStart& run) override;
    void stepped(const StepRecord& record) override;

  private:
    /// Of the run that is gone on with: what came after the checkpoint comes again.
    void keep_lines_until(std::int64_t step) const;

    std::filesystem::path path_;
    std::optional<LineFile> lines_;
};

}  // namespace smp::runtime
