// What a run has left in its folder, or has written there so far, as a report needs it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/report/metrics_table.h"
#include "partition/foresight/timeline_picture.h"

namespace smp::launch {

struct NamedBytes {
    std::string name;
    std::int64_t bytes = 0;
};

/// Of the largest rank of a stage; what was measured is empty until a step was done.
struct StageMemory {
    int stage = 0;
    std::vector<NamedBytes> predicted, measured;
    std::int64_t predicted_peak = 0, measured_peak = 0;
};

struct RunFolder {
    std::filesystem::path path;
    std::string name;   // of the folder
    std::string state;  // "running", "finished", "stopped"; empty: not known
    MetricsTable metrics;
    std::vector<std::pair<std::string, std::string>> settings, keys;  // keys: "section.key" and value as JSON
    std::vector<std::string> warnings, notes, advice;
    std::vector<StageMemory> memory;
    std::vector<std::pair<std::int64_t, std::string>> samples;  // step, text
    std::string log;                                            // its end
    std::vector<partition::TimelinePicture> timelines;
    std::vector<std::string> remarks;  // sentences about what could not be read, for the report
};

/// What is not there is empty; what cannot be read is a remark. Throws runtime::DataError where the folder holds no run
/// (no config.json and no metrics.jsonl).
RunFolder read_run(const std::filesystem::path& folder);

}  // namespace smp::launch
