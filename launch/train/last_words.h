// What a process says before it ends early: to standard error and, once a run has begun, to its log.txt with the time
// of day. State of the process, as its signals are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace smp::launch {

/// From now on last words go to this file, too.
void keep_last_words_in(const std::filesystem::path& log);

/// print_failure(), and the same behind the time of day in the log. Never throws.
void tell_failure(std::string_view program, std::string_view message) noexcept;

/// "smp_train: <sentence>" behind the time of day, in the log alone. Never throws.
void tell_log(std::string_view program, std::string_view sentence) noexcept;

/// "smp_train: ended by SIGTERM after step 12" likewise; before the first step `last_step` is 0. May be called in a
/// signal handler.
void tell_end_by_signal(std::string_view program, int signal, std::int64_t last_step) noexcept;

}  // namespace smp::launch
