#include "launch/train/requests.h"

#include <atomic>
#include <csignal>

#include "launch/train/last_words.h"

namespace smp::launch {

namespace {

std::atomic<bool> speaks_of_end = false, trains = false;
std::atomic<int> stop_signal = 0;  // the first
std::atomic<unsigned> saves = 0;   // so often asked for
std::atomic<std::int64_t> last_step = 0;
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free &&
              std::atomic<unsigned>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free);

extern "C" void take_signal(int signal) {
    if (signal == SIGUSR1) {
        ++saves;
        return;
    }
    int none = 0;
    if (trains && (stop_signal.compare_exchange_strong(none, signal) || signal == SIGUSR2)) return;
    if (speaks_of_end.exchange(false)) tell_end_by_signal("smp_train", signal, last_step);
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

bool is_ignored(int signal) {
    struct sigaction action {};
    return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

void take_signals(bool speaks) {
    speaks_of_end = speaks;
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) {
        if (signal == SIGHUP && is_ignored(signal)) continue;
        struct sigaction action {};
        action.sa_handler = take_signal;
        action.sa_flags = SA_RESTART;
        ::sigemptyset(&action.sa_mask);
        ::sigaction(signal, &action, nullptr);
    }
}

void take_requests() { trains = true; }

runtime::Request requested(std::int64_t steps_done) {
    using Kind = runtime::Request::Kind;
    last_step = steps_done;
    if (const int signal = stop_signal; signal != 0) return {.kind = Kind::stop, .signal = signal};
    thread_local unsigned seen = 0;
    const unsigned now = saves;
    if (now == seen) return {};
    seen = now;
    return {.kind = Kind::save, .signal = SIGUSR1};
}

}  // namespace smp::launch
