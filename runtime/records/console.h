// What a run tells a person: settings once, one aligned line a step, a progress bar on a terminal. Rank 0's goes to the
// screen and to log.txt; with logging.all_ranks the other ranks write theirs to log.<rank>.txt.
#pragma once

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>

#include "runtime/job/options.h"
#include "runtime/records/recorder.h"
#include "runtime/records/run_directory.h"

namespace smp::runtime {

/// Says only what is at least as grave as logging.level.
class Console final : public Recorder {
  public:
    struct Places {
        std::FILE* screen = nullptr;  // null: nowhere
        bool bar = false;             // the screen is a terminal that a person watches
        std::filesystem::path log;
        std::string results;  // the folder that the last line names; empty: no such line
    };
    explicit Console(Places places);
    ~Console() override;
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    /// A two-column table of the settings, warnings, notes. Throws DataError if the log file cannot be written.
    void started(const RunStart& run) override;
    /// "step 12/200 | loss 3.1416 | …", every logging.every steps, the first, the last and those with an evaluation; on
    /// a terminal a bar with the time left follows, redrawn in place.
    void stepped(const StepRecord& record) override;
    void traced(const partition::StepTimes& times) override;
    void evaluated(const Evaluation& evaluation) override;
    void finished(const RunEnd& end) override;

  private:
    void say(LogLevel level, const std::string& text);
    void say_line(LogLevel level, const StepRecord& record);
    void erase_bar();
    void draw_bar(const StepRecord& record);

    const Places places_;
    std::optional<RunStart> run_;
    std::optional<LineFile> log_;
    bool bar_shown_ = false;
    double smoothed_seconds_ = 0;  // of a step: exponential mean
};

/// "1h 02m", "3m 20s", "12s".
std::string to_duration(double seconds);

}  // namespace smp::runtime
