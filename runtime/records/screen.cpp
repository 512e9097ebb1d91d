#include "runtime/records/screen.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace smp::runtime {

namespace {

constexpr int kPatienceMilliseconds = 1000;

// The bar is the line above the cursor: up, to its start, and away with it.
constexpr std::string_view kErase = "\x1b[A\r\x1b[K";

}  // namespace

void Screen::write(std::string_view text) noexcept {
    if (descriptor_ < 0) return;
    if (dropped_ > 0) {
        if (!takes_more(0)) {
            ++dropped_;
            return;
        }
        char words[80];
        const int length =
            std::snprintf(words, sizeof words, "(%ld messages were not shown; the log has them)\n", dropped_);
        dropped_ = 0;
        put(std::string_view(words, static_cast<std::size_t>(length)));
    }
    erase();
    // A line that a pipe takes whole is there or not.
    char line[PIPE_BUF];
    const bool is_short = text.size() < sizeof line;
    if (is_short) line[text.copy(line, text.size())] = '\n';
    if (is_short ? !put({line, text.size() + 1}) : !put(text) || !put("\n")) ++dropped_;
}

void Screen::draw(std::string_view bar) noexcept {
    if (!redraws_ || dropped_ > 0) return;
    erase();
    bar_shown_ = put(bar) && put("\n");
}

void Screen::erase() noexcept {
    if (!bar_shown_) return;
    bar_shown_ = false;
    put(kErase);
}

std::size_t Screen::columns() const noexcept {
    winsize size{};
    if (descriptor_ < 0 || ::ioctl(descriptor_, TIOCGWINSZ, &size) != 0) return 0;
    if (size.ws_col > 0) return size.ws_col;
    // A terminal that was not told its size, as mpirun's own: what the person's shell says.
    const char* columns = std::getenv("COLUMNS");
    const long stated = columns == nullptr ? 0 : std::strtol(columns, nullptr, 10);
    return stated > 0 ? static_cast<std::size_t>(stated) : 0;
}

bool Screen::takes_more(int patience_milliseconds) const noexcept {
    pollfd entry{.fd = descriptor_, .events = POLLOUT, .revents = 0};
    int ready = 0;
    do ready = ::poll(&entry, 1, patience_milliseconds);
    while (ready < 0 && errno == EINTR);
    return ready > 0;  // writing tells what else is the matter
}

bool Screen::put(std::string_view bytes) noexcept {
    while (!bytes.empty() && descriptor_ >= 0) {
        if (!takes_more(kPatienceMilliseconds)) return false;
        // A pipe that takes anything takes this much without making the writer wait.
        const ssize_t written = ::write(descriptor_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
        if (written >= 0)
            bytes.remove_prefix(static_cast<std::size_t>(written));
        else if (errno != EINTR && errno != EAGAIN)
            descriptor_ = -1;
    }
    return true;
}

}  // namespace smp::runtime
