// Standard input, output and error as a program finds them: closed, full, left by their reader, or not read at all.
#pragma once

#include <string_view>

namespace smp::launch {

/// First in main. Those of the three that the caller has closed become /dev/null, so that no file of this program gets
/// their numbers and with it what is meant for a person. SIGPIPE and SIGXFSZ are ignored: writes report it
/// instead, be it a reader that has left or a file that grew to the user's limit.
void prepare_standard_streams() noexcept;

/// "PROGRAM: error: MESSAGE" on standard error, made readable. The last words of a program must not keep it from ending
/// with its exit code: never throws, takes no lock of stdio, and gives up where nobody reads for 2 seconds or nothing
/// can be written.
void print_failure(std::string_view program, std::string_view message) noexcept;

}  // namespace smp::launch
