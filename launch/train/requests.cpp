#include "launch/train/requests.h"

#include <atomic>
#include <csignal>

namespace smp::launch {

namespace {

std::atomic<bool> stops = false;
std::atomic<unsigned> saves = 0;  // so often asked for
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<unsigned>::is_always_lock_free);

extern "C" void take_request(int signal) {
    if (signal == SIGUSR1) {
        ++saves;
        return;
    }
    if (stops.exchange(true) && signal != SIGUSR2) {
        std::signal(signal, SIG_DFL);
        std::raise(signal);
    }
}

}  // namespace

void take_requests() {
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) {
        struct sigaction action {};
        action.sa_handler = take_request;
        action.sa_flags = SA_RESTART;
        ::sigemptyset(&action.sa_mask);
        ::sigaction(signal, &action, nullptr);
    }
}

runtime::Request requested() {
    if (stops) return runtime::Request::stop;
    thread_local unsigned seen = 0;
    const unsigned now = saves;
    if (now == seen) return runtime::Request::none;
    seen = now;
    return runtime::Request::save;
}

}  // namespace smp::launch
