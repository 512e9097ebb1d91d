// What a run tells a person: settings once, one aligned line a step, a progress bar on a terminal. Rank 0's goes to the
// screen and to log.txt; with logging.all_ranks the other ranks write theirs to log.<rank>.txt.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "runtime/job/options.h"
#include "runtime/records/run_directory.h"
#include "runtime/records/step_record.h"

namespace smp::runtime {

class Console {
  public:
    struct Settings {
        std::FILE* screen = nullptr;  // null: nowhere
        bool bar = false;             // the screen is a terminal that a person watches
        std::filesystem::path log;
        LogLevel level = LogLevel::info;  // only what is at least as grave is said
        std::int64_t steps = 0;
    };
    /// Throws DataError if the log file cannot be written.
    explicit Console(const Settings& settings);
    ~Console();
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    void say(LogLevel level, const std::string& text);
    /// A two-column table, at level info.
    void settings(const std::vector<std::pair<std::string, std::string>>& rows);
    /// At level info: "step 12/200 | loss 3.1416 | …"; on a terminal a bar with the time left follows, redrawn in
    /// place.
    void step(const StepRecord& record, bool print_line);

  private:
    void erase_bar();
    void draw_bar(const StepRecord& record);

    Settings settings_;
    LineFile log_;
    bool bar_shown_ = false;
    double smoothed_seconds_ = 0;  // of a step: exponential mean
};

/// "1h 02m", "3m 20s", "12s".
std::string to_duration(double seconds);

}  // namespace smp::runtime
