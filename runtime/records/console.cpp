#include "runtime/records/console.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "partition/foresight/measured_durations.h"
#include "partition/foresight/memory_forecast.h"
#include "runtime/files/shown_text.h"
#include "runtime/records/folded_text.h"
#include "runtime/records/signal_name.h"

namespace smp::runtime {

std::string to_duration(double seconds) {
    const auto whole = static_cast<long long>(std::llround(std::max(0.0, seconds)));
    if (whole >= 3600) return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
    if (whole >= 60) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
    return fmt::format("{}s", whole);
}

std::vector<std::string> head_of_log(const RunStart& run) {
    std::vector<std::string> lines;
    if (run.places.empty()) return lines;
    lines.push_back(described(run.places.at(static_cast<std::size_t>(run.rank))));
    if (run.rank != 0) return lines;
    for (const Node& node : nodes_of(run.places)) lines.push_back(described(node));
    return lines;
}

Console::Console(Places places) : places_(std::move(places)), screen_(places_.screen, places_.bar) {}

void Console::say(LogLevel level, const std::string& text, Tone tone, std::size_t indent) {
    say_line(level, text, folded(escaped(text), screen_.columns(), indent), tone);
}

void Console::say_line(LogLevel level, const std::string& text, const std::string& shown, Tone tone) {
    if (level < run_->job.logging.level) return;
    log_->write(escaped(text));
    constexpr std::array<std::string_view, 4> kColours = {"", "\x1b[33m", "\x1b[32m", "\x1b[1m"};
    const std::string_view colour = places_.colours ? kColours.at(static_cast<std::size_t>(tone)) : "";
    screen_.write(fmt::format("{}{}{}", colour, escaped(shown), colour.empty() ? "" : "\x1b[0m"));
}

void Console::started(const RunStart& run) {
    run_.emplace(run);
    log_.emplace(places_.log, run.steps_done > 0 ? LineFile::Start::go_on : LineFile::Start::anew);
    for (const std::string& line : head_of_log(run)) log_->write(escaped(line));
    std::size_t width = 0;
    for (const auto& [name, value] : run.settings) width = std::max(width, name.size());
    for (const auto& [name, value] : run.settings)
        say(LogLevel::info, fmt::format("{:<{}} | {}", name, width, value), Tone::plain, width + 3);
    for (const std::string& warning : run.warnings) say(LogLevel::warning, "warning: " + warning, Tone::warning);
    for (const std::string& note : run.notes) say(LogLevel::info, "note: " + note);
}

void Console::stepped(const StepRecord& record) {
    if (!record.notice.empty()) say(LogLevel::warning, record.notice, Tone::warning);
    const LoggingOptions& logging = run_->job.logging;
    const bool is_shown = record.validation_loss || record.step == run_->job.training.steps ||
                          record.step % logging.every == 0 || record.step == 1;
    say_step(is_shown ? LogLevel::info : LogLevel::debug, record);
    smoothed_seconds_ = smoothed_seconds_ == 0 ? record.seconds : 0.9 * smoothed_seconds_ + 0.1 * record.seconds;
    if (places_.bar && logging.level <= LogLevel::info) draw_bar(record);
}

void Console::say_step(LogLevel level, const StepRecord& record) {
    const std::int64_t steps = run_->job.training.steps;
    const auto digits = static_cast<int>(std::to_string(steps).size());
    // With the rank in which a terminal that is too narrow goes without them, from 1; 0: never.
    std::vector<std::pair<int, std::string>> fields = {{0, fmt::format("step {:>{}}/{}", record.step, digits, steps)},
                                                       {0, fmt::format("loss {:>8.4f}", record.loss)},
                                                       {1, fmt::format("lr {:.2e}", record.learning_rate)},
                                                       {3, fmt::format("grad norm {:>8.4f}", record.grad_norm)},
                                                       {2, fmt::format("{:>9.1f} ms", record.seconds * 1e3)},
                                                       {5, fmt::format("{:>9.0f} tokens/s", record.tokens_per_second)}};
    if (record.mfu) fields.emplace_back(4, fmt::format("MFU {:4.1f} %", 100 * *record.mfu));
    if (record.validation_loss) fields.emplace_back(6, fmt::format("validation loss {:.4f}", *record.validation_loss));
    const auto line_without = [&](int last_left_out) {
        std::string line;
        for (const auto& [rank, field] : fields)
            if (rank == 0 || rank > last_left_out) line += (line.empty() ? "" : " | ") + field;
        return line;
    };
    const std::string line = line_without(0);
    std::string shown = line;
    for (int rank = 1; rank <= 6 && screen_.columns() > 0 && shown.size() >= screen_.columns(); ++rank)
        shown = line_without(rank);
    say_line(level, line, shown, record.validation_loss ? Tone::evaluation : Tone::plain);
}

void Console::traced(const partition::StepTimes& times) {
    say(LogLevel::info, partition::comparison(run_->plan, run_->graph, times));
}

void Console::evaluated(const Evaluation& evaluation) {
    const TrainingOptions& training = run_->job.training;
    if (training.sample_tokens == 0) return;
    const std::string sample =
        fmt::format("--- sample ---\n{}{}\n--------------", training.sample_prompt, evaluation.sample);
    say_line(LogLevel::info, sample, sample);
}

void Console::saved(const SavedCheckpoint& checkpoint) {
    if (checkpoint.failure.empty())
        say(LogLevel::info,
            fmt::format("step {} is saved in {}: {} in {:.1f} s", checkpoint.step, checkpoint.path,
                        partition::shown_bytes(static_cast<std::int64_t>(checkpoint.bytes)), checkpoint.seconds));
    else
        say(LogLevel::warning,
            fmt::format("warning: step {} could not be saved, training goes on: {}", checkpoint.step,
                        checkpoint.failure),
            Tone::warning);
    if (!checkpoint.note.empty()) say(LogLevel::warning, "warning: " + checkpoint.note, Tone::warning);
}

void Console::waiting(const std::string& sentence) { say(LogLevel::info, sentence); }

void Console::asked(const AskedFor& request) {
    const std::string_view cause = request.signal == 0 ? "a request" : signal_name(request.signal);
    say(LogLevel::warning,
        fmt::format("{} after step {}: {}", cause, request.step,
                    request.stops ? "stops with a checkpoint; the same command goes on" : "saves a checkpoint"));
}

void Console::finished(const RunEnd& end) {
    if (end.memory.device_peak > 0)
        say(LogLevel::info, partition::memory_comparison(run_->plan, run_->graph, run_->at.stage(), end.memory));
    for (const std::string& sentence : end.advice) say(LogLevel::info, "advice: " + sentence, Tone::advice);
    if (!end.stopped && !places_.results.empty())
        say(LogLevel::info, fmt::format("done: results in {}", places_.results));
}

void Console::draw_bar(const StepRecord& record) {
    constexpr std::size_t kLongest = 40, kShortest = 5;
    const std::int64_t steps = run_->job.training.steps, most = std::max<std::int64_t>(1, steps);
    const std::string percent = fmt::format("{:3} %", 100 * record.step / most);
    const std::string left =
        fmt::format("  {} left", to_duration(smoothed_seconds_ * static_cast<double>(steps - record.step)));
    // "[====    ]  50 %  12s left" in a column less than there are; on narrow terminals less of it.
    const std::size_t columns = screen_.columns() == 0 ? 80 : screen_.columns();
    const std::size_t rest = 4 + percent.size() + left.size();
    std::string bar = percent + left;
    if (columns >= rest + kShortest) {
        const std::size_t length = std::min(kLongest, columns - rest);
        const auto done = static_cast<std::size_t>(record.step) * length / static_cast<std::size_t>(most);
        bar = fmt::format("[{:=<{}}{:<{}}] {}", "", done, "", length - done, bar);
    }
    screen_.draw(bar.size() < columns ? bar : percent);
}

}  // namespace smp::runtime
