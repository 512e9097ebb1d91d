#pragma once

#include <csignal>
#include <string_view>

namespace smp::runtime {

/// "SIGTERM", for those that a run knows. May be called in a signal handler.
constexpr std::string_view signal_name(int signal) {
    switch (signal) {
        case SIGHUP: return "SIGHUP";
        case SIGINT: return "SIGINT";
        case SIGTERM: return "SIGTERM";
        case SIGUSR1: return "SIGUSR1";
        case SIGUSR2: return "SIGUSR2";
        default: return "a signal";
    }
}

}  // namespace smp::runtime
