// trace.json of a run: the traced steps so far, complete whenever somebody looks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "runtime/records/recorder.h"
#include "runtime/records/trace_events.h"

namespace smp::runtime {

class TraceFile final : public Recorder {
  public:
    explicit TraceFile(std::filesystem::path path);

    /// Removes the file: it is another run's, and this one may write none.
    void started(const RunStart& run) override;
    /// Replaces the file by one that has this step too; its times are from the begin of the first one. Throws DataError
    /// as OutputFile does.
    void traced(const partition::StepTimes& times) override;

  private:
    std::filesystem::path path_;
    const partition::Plan* plan_ = nullptr;
    Trace trace_;
    std::optional<std::int64_t> zero_ns_;
};

}  // namespace smp::runtime
