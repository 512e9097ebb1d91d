#include "launch/command/standard_streams.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <exception>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/files/shown_text.h"

namespace smp::launch {

namespace {

constexpr int kPatienceMilliseconds = 2000;

/// Whether standard error takes a piece of up to PIPE_BUF bytes now, or soon.
bool takes_more() noexcept {
    pollfd entry{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    int ready = 0;
    do ready = ::poll(&entry, 1, kPatienceMilliseconds);
    while (ready < 0 && errno == EINTR);
    return ready > 0 && (entry.revents & POLLOUT) != 0;
}

}  // namespace

void prepare_standard_streams() noexcept {
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
        // The lowest number that is free: this one, since those below are taken.
        if (::open("/dev/null", descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY) < 0) return;
    }
}

void print_failure(std::string_view program, std::string_view message) noexcept {
    std::string readable;
    try {
        readable = runtime::readable_message(message);
        message = readable;
    } catch (const std::exception&) {  // no memory: as it is
    }
    // As one message, in pieces that a pipe takes whole: those of several processes do not mix within a line's reach.
    std::array<std::string_view, 4> parts = {program, ": error: ", message, "\n"};
    while (true) {
        std::array<iovec, 4> pieces{};
        std::size_t room = PIPE_BUF;
        for (std::size_t i = 0; i < parts.size(); ++i) {
            const std::size_t length = std::min(room, parts[i].size());
            pieces[i] = {.iov_base = const_cast<char*>(parts[i].data()), .iov_len = length};
            room -= length;
        }
        if (room == PIPE_BUF || !takes_more()) return;
        const ssize_t written = ::writev(STDERR_FILENO, pieces.data(), static_cast<int>(pieces.size()));
        if (written < 0 && errno != EINTR && errno != EAGAIN) return;
        auto done = static_cast<std::size_t>(std::max<ssize_t>(0, written));
        for (std::string_view& part : parts) {
            const std::size_t length = std::min(done, part.size());
            part.remove_prefix(length);
            done -= length;
        }
    }
}

}  // namespace smp::launch
