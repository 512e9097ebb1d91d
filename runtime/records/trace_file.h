// trace.json of a run: the traced steps so far, complete whenever somebody looks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "partition/foresight/action_times.h"
#include "partition/plan/plan.h"
#include "runtime/records/trace_events.h"

namespace smp::runtime {

class TraceFile {
  public:
    /// Writes nothing yet. `plan` must outlive it.
    TraceFile(std::filesystem::path path, const partition::Plan& plan);

    /// Replaces the file by one that has this step too; its times are from the begin of the first one. Throws DataError
    /// as OutputFile does.
    void add(const partition::StepTimes& times);

  private:
    std::filesystem::path path_;
    const partition::Plan& plan_;
    Trace trace_;
    std::optional<std::int64_t> zero_ns_;
};

}  // namespace smp::runtime
