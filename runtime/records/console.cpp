#include "runtime/records/console.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace smp::runtime {

std::string to_duration(double seconds) {
    const auto whole = static_cast<long long>(std::llround(std::max(0.0, seconds)));
    if (whole >= 3600) return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
    if (whole >= 60) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
    return fmt::format("{}s", whole);
}

Console::Console(const Settings& settings) : settings_(settings), log_(settings.log) {}

Console::~Console() { erase_bar(); }

void Console::say(LogLevel level, const std::string& text) {
    if (level < settings_.level) return;
    log_.write(text);
    if (settings_.screen == nullptr) return;
    erase_bar();
    fmt::print(settings_.screen, "{}\n", text);
    std::fflush(settings_.screen);
}

void Console::settings(const std::vector<std::pair<std::string, std::string>>& rows) {
    std::size_t width = 0;
    for (const auto& [name, value] : rows) width = std::max(width, name.size());
    for (const auto& [name, value] : rows) say(LogLevel::info, fmt::format("{:<{}} | {}", name, width, value));
}

void Console::step(const StepRecord& record, bool print_line) {
    if (print_line) {
        const auto digits = static_cast<int>(std::to_string(settings_.steps).size());
        std::string line = fmt::format(
            "step {:>{}}/{} | loss {:>8.4f} | lr {:.2e} | grad norm {:>8.4f} | {:>9.1f} ms | {:>9.0f} tokens/s",
            record.step, digits, settings_.steps, record.loss, record.learning_rate, record.grad_norm,
            record.seconds * 1e3, record.tokens_per_second);
        if (record.mfu) line += fmt::format(" | MFU {:4.1f} %", 100 * *record.mfu);
        if (record.validation_loss) line += fmt::format(" | validation loss {:.4f}", *record.validation_loss);
        say(LogLevel::info, line);
    }
    smoothed_seconds_ = smoothed_seconds_ == 0 ? record.seconds : 0.9 * smoothed_seconds_ + 0.1 * record.seconds;
    if (settings_.bar && settings_.level <= LogLevel::info) draw_bar(record);
}

void Console::erase_bar() {
    if (!bar_shown_) return;
    fmt::print(settings_.screen, "\r\x1b[K");
    std::fflush(settings_.screen);
    bar_shown_ = false;
}

void Console::draw_bar(const StepRecord& record) {
    constexpr int kWidth = 40;
    const auto done = static_cast<int>(kWidth * record.step / std::max<std::int64_t>(1, settings_.steps));
    fmt::print(settings_.screen, "\r\x1b[K[{:=<{}}{:<{}}] {:3} %  {} left", "", done, "", kWidth - done,
               100 * record.step / std::max<std::int64_t>(1, settings_.steps),
               to_duration(smoothed_seconds_ * static_cast<double>(settings_.steps - record.step)));
    std::fflush(settings_.screen);
    bar_shown_ = true;
}

}  // namespace smp::runtime
