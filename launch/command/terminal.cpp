#include "launch/command/terminal.h"

#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <unistd.h>

#include <fmt/format.h>

#include "comms/communicator.h"

namespace smp::launch {

bool prints_to_terminal() {
    const char* kind = std::getenv("TERM");
    if (::isatty(STDOUT_FILENO) != 1 || kind == nullptr || std::string_view(kind) == "dumb") return false;
    if (!comms::launched_by_mpi()) return true;
    std::error_code error;
    const auto target = std::filesystem::read_symlink(fmt::format("/proc/{}/fd/1", ::getppid()), error);
    return !error && (target.native().starts_with("/dev/pts/") || target.native().starts_with("/dev/tty"));
}

bool allows_colours() {
    const char* refusal = std::getenv("NO_COLOR");
    return refusal == nullptr || *refusal == '\0';
}

}  // namespace smp::launch
