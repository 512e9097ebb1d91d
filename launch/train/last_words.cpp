#include "launch/train/last_words.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "launch/command/standard_streams.h"
#include "runtime/files/shown_text.h"
#include "runtime/records/signal_name.h"

namespace smp::launch {

namespace {

std::array<char, PATH_MAX> log_path{};  // written before has_log is set, and never again
std::atomic<bool> has_log = false;
static_assert(std::atomic<bool>::is_always_lock_free);

/// Text in place: no memory is asked for in a signal handler.
class Line {
  public:
    Line& operator<<(std::string_view text) {
        const std::size_t size = std::min(text.size(), text_.size() - size_);
        std::memcpy(text_.data() + size_, text.data(), size);
        size_ += size;
        return *this;
    }
    Line& number(std::int64_t value, std::size_t least_digits = 1) {
        std::array<char, 20> digits{};
        std::size_t begin = digits.size();
        for (; begin > 0 && (value > 0 || digits.size() - begin < least_digits); value /= 10)
            digits[--begin] = static_cast<char>('0' + value % 10);
        return *this << std::string_view(digits.data() + begin, digits.size() - begin);
    }
    std::string_view view() const { return {text_.data(), size_}; }

  private:
    std::array<char, 512> text_{};
    std::size_t size_ = 0;
};

/// "2026-11-25 23:10:02 UTC ".
void put_time_of_day(Line& line) {
    using namespace std::chrono;
    const auto now = floor<seconds>(system_clock::now());
    const auto day = floor<days>(now);
    const year_month_day date(day);
    const hh_mm_ss time(now - day);
    line.number(static_cast<int>(date.year()), 4) << "-";
    line.number(static_cast<unsigned>(date.month()), 2) << "-";
    line.number(static_cast<unsigned>(date.day()), 2) << " ";
    line.number(time.hours().count(), 2) << ":";
    line.number(time.minutes().count(), 2) << ":";
    line.number(time.seconds().count(), 2) << " UTC ";
}

void write_all(int descriptor, std::string_view text) noexcept {
    while (!text.empty()) {
        const ssize_t written = ::write(descriptor, text.data(), text.size());
        if (written <= 0) return;  // nobody is left to tell
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

void write_to_log(std::initializer_list<std::string_view> parts) noexcept {
    if (!has_log) return;
    const int log = ::open(log_path.data(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (log < 0) return;
    for (const std::string_view part : parts) write_all(log, part);
    ::close(log);
}

}  // namespace

void keep_last_words_in(const std::filesystem::path& log) {
    static std::atomic<bool> is_taken = false;
    const std::string path = std::filesystem::absolute(log).string();
    if (path.size() >= log_path.size() || is_taken.exchange(true)) return;
    std::copy(path.begin(), path.end(), log_path.begin());
    has_log = true;
}

void tell_failure(std::string_view program, std::string_view message) noexcept {
    print_failure(program, message);
    Line time;
    put_time_of_day(time);
    try {
        write_to_log({time.view(), program, ": error: ", runtime::readable_message(message), "\n"});
    } catch (const std::exception&) {  // no memory: as it is
        write_to_log({time.view(), program, ": error: ", message, "\n"});
    }
}

void tell_log(std::string_view program, std::string_view sentence) noexcept {
    Line time;
    put_time_of_day(time);
    write_to_log({time.view(), program, ": ", sentence, "\n"});
}

void tell_end_by_signal(std::string_view program, int signal, std::int64_t last_step) noexcept {
    Line time, line;
    put_time_of_day(time);
    line << program << ": ended by " << runtime::signal_name(signal);
    if (last_step > 0)
        (line << " after step ").number(last_step);
    else
        line << " before the first step";
    line << "\n";
    write_all(STDERR_FILENO, line.view());
    write_to_log({time.view(), line.view()});
}

}  // namespace smp::launch
