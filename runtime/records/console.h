// What a run tells a person: settings once, one aligned line a step, a progress bar on a terminal. Rank 0's goes to the
// screen and to log.txt; with logging.all_ranks the other ranks write theirs to log.<rank>.txt.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "runtime/job/options.h"
#include "runtime/records/recorder.h"
#include "runtime/records/run_directory.h"
#include "runtime/records/screen.h"

namespace smp::runtime {

/// Says only what is at least as grave as logging.level.
class Console final : public Recorder {
  public:
    struct Places {
        int screen = -1;       // a descriptor, as a rule that of standard output; −1: nowhere
        bool bar = false;      // the screen is a terminal that a person watches
        bool colours = false;  // likewise, and it may be coloured
        std::filesystem::path log;
        std::string results;  // the folder that the last line names; empty: no such line
    };
    explicit Console(Places places);
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    /// The log alone: head_of_log(). Then a two-column table of the settings, warnings, notes: on a terminal in lines
    /// that fit it. Throws DataError if the log file cannot be written.
    void started(const RunStart& run) override;
    /// "step 12/200 | loss 3.1416 | …" (as much of it as the terminal is wide), every logging.every steps, the first,
    /// the last and those with an evaluation; on a terminal a bar with the time left follows, redrawn in place.
    void stepped(const StepRecord& record) override;
    void traced(const partition::StepTimes& times) override;
    void evaluated(const Evaluation& evaluation) override;
    void saved(const SavedCheckpoint& checkpoint) override;
    void waiting(const std::string& sentence) override;
    void asked(const AskedFor& request) override;
    void finished(const RunEnd& end) override;

  private:
    /// What a person's eye is led to.
    enum class Tone { plain, warning, advice, evaluation };
    /// A sentence: the screen shows it in lines that fit, all but the first indented.
    void say(LogLevel level, const std::string& text, Tone tone = Tone::plain, std::size_t indent = 2);
    /// The screen shows `shown` as it is.
    void say_line(LogLevel level, const std::string& text, const std::string& shown, Tone tone = Tone::plain);
    void say_step(LogLevel level, const StepRecord& record);
    void draw_bar(const StepRecord& record);

    const Places places_;
    Screen screen_;
    std::optional<RunStart> run_;
    std::optional<LineFile> log_;
    double smoothed_seconds_ = 0;  // of a step: exponential mean
};

/// "1h 02m", "3m 20s", "12s".
std::string to_duration(double seconds);

}  // namespace smp::runtime
