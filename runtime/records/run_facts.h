// run.json of a run: what a person is told of it, and what its stages took, for programs that show runs. Complete
// whenever somebody looks.
//
// {"version": 1, "state": "running" | "finished" | "stopped", "steps": done, "settings": [[name, value], …],
//  "warnings": […], "notes": […], "advice": […],
//  "memory": [{"stage": s, "predicted": {"peak": bytes, category: bytes, …}, "measured": {likewise}}, …],
//  "samples": [{"step": n, "text": "…"}, …]}
//
// "measured" is the largest over the stage's ranks, of a step's peaks, and is missing until a step was done; categories
// of 0 bytes are left out; "peak" is of all together but `offloaded`.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "partition/foresight/memory_forecast.h"
#include "runtime/records/recorder.h"
#include "runtime/records/run_directory.h"

namespace smp::runtime {

inline constexpr const char* kRunFacts = "run.json";

class RunFacts final : public Recorder {
  public:
    /// `directory` must outlive it.
    explicit RunFacts(const RunDirectory& directory);

    void started(const RunStart& run) override;
    void stepped(const StepRecord& record) override;
    void measured(const std::vector<partition::MemoryUse>& ranks) override;
    void evaluated(const Evaluation& evaluation) override;
    void saved(const SavedCheckpoint& checkpoint) override;
    void finished(const RunEnd& end) override;

  private:
    void warn(const std::string& sentence);
    void write() const;

    const RunDirectory& directory_;
    const partition::Plan* plan_ = nullptr;
    std::string prompt_;  // of samples
    std::string state_ = "running";
    std::int64_t steps_ = 0;
    std::vector<std::pair<std::string, std::string>> settings_;
    std::vector<std::string> warnings_, notes_, advice_;
    partition::Table<partition::StageId, partition::MemoryForecast> predicted_;
    partition::Table<partition::StageId, partition::MemoryForecast> measured_;  // empty: not yet
    std::vector<std::pair<std::int64_t, std::string>> samples_;                 // step, text
};

}  // namespace smp::runtime
