#include "runtime/records/console.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "partition/foresight/measured_durations.h"
#include "partition/foresight/memory_forecast.h"
#include "runtime/files/shown_text.h"

namespace smp::runtime {

std::string to_duration(double seconds) {
    const auto whole = static_cast<long long>(std::llround(std::max(0.0, seconds)));
    if (whole >= 3600) return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
    if (whole >= 60) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
    return fmt::format("{}s", whole);
}

Console::Console(Places places) : places_(std::move(places)) {}

Console::~Console() { erase_bar(); }

void Console::say(LogLevel level, const std::string& text) {
    if (level < run_->job.logging.level) return;
    const std::string shown = escaped(text);
    log_->write(shown);
    if (places_.screen == nullptr) return;
    erase_bar();
    fmt::print(places_.screen, "{}\n", shown);
    std::fflush(places_.screen);
}

void Console::started(const RunStart& run) {
    run_.emplace(run);
    log_.emplace(places_.log);
    std::size_t width = 0;
    for (const auto& [name, value] : run.settings) width = std::max(width, name.size());
    for (const auto& [name, value] : run.settings) say(LogLevel::info, fmt::format("{:<{}} | {}", name, width, value));
    for (const std::string& warning : run.warnings) say(LogLevel::warning, "warning: " + warning);
    for (const std::string& note : run.notes) say(LogLevel::info, "note: " + note);
}

void Console::stepped(const StepRecord& record) {
    if (!record.notice.empty()) say(LogLevel::warning, record.notice);
    const LoggingOptions& logging = run_->job.logging;
    const bool is_shown = record.validation_loss || record.step == run_->job.training.steps ||
                          record.step % logging.every == 0 || record.step == 1;
    say_line(is_shown ? LogLevel::info : LogLevel::debug, record);
    smoothed_seconds_ = smoothed_seconds_ == 0 ? record.seconds : 0.9 * smoothed_seconds_ + 0.1 * record.seconds;
    if (places_.bar && logging.level <= LogLevel::info) draw_bar(record);
}

void Console::say_line(LogLevel level, const StepRecord& record) {
    const std::int64_t steps = run_->job.training.steps;
    const auto digits = static_cast<int>(std::to_string(steps).size());
    std::string line =
        fmt::format("step {:>{}}/{} | loss {:>8.4f} | lr {:.2e} | grad norm {:>8.4f} | {:>9.1f} ms | {:>9.0f} tokens/s",
                    record.step, digits, steps, record.loss, record.learning_rate, record.grad_norm,
                    record.seconds * 1e3, record.tokens_per_second);
    if (record.mfu) line += fmt::format(" | MFU {:4.1f} %", 100 * *record.mfu);
    if (record.validation_loss) line += fmt::format(" | validation loss {:.4f}", *record.validation_loss);
    say(level, line);
}

void Console::traced(const partition::StepTimes& times) {
    say(LogLevel::info, partition::comparison(run_->plan, run_->graph, times));
}

void Console::evaluated(const Evaluation& evaluation) {
    const TrainingOptions& training = run_->job.training;
    if (training.sample_tokens == 0) return;
    say(LogLevel::info, fmt::format("--- sample ---\n{}{}\n--------------", training.sample_prompt, evaluation.sample));
}

void Console::finished(const RunEnd& end) {
    say(LogLevel::info, partition::memory_comparison(run_->plan, run_->graph, run_->at.stage(), end.memory));
    if (!places_.results.empty()) say(LogLevel::info, fmt::format("done: results in {}", places_.results));
}

void Console::erase_bar() {
    if (!bar_shown_) return;
    fmt::print(places_.screen, "\r\x1b[K");
    std::fflush(places_.screen);
    bar_shown_ = false;
}

void Console::draw_bar(const StepRecord& record) {
    constexpr int kWidth = 40;
    const std::int64_t steps = run_->job.training.steps, most = std::max<std::int64_t>(1, steps);
    const auto done = static_cast<int>(kWidth * record.step / most);
    fmt::print(places_.screen, "\r\x1b[K[{:=<{}}{:<{}}] {:3} %  {} left", "", done, "", kWidth - done,
               100 * record.step / most, to_duration(smoothed_seconds_ * static_cast<double>(steps - record.step)));
    std::fflush(places_.screen);
    bar_shown_ = true;
}

}  // namespace smp::runtime
