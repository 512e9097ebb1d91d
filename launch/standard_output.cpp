#include "launch/standard_output.h"

#include <cerrno>
#include <cstring>
#include <unistd.h>

#include <fmt/format.h>

#include "runtime/data_error.h"

namespace smp::launch {

void write_standard_output(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
        if (written >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(written));
        } else if (errno == EPIPE) {
            throw ReaderIsGone{};
        } else if (errno != EINTR) {
            throw runtime::DataError(fmt::format(
                "standard output cannot be written: {}; free some space or write elsewhere.", std::strerror(errno)));
        }
    }
}

}  // namespace smp::launch
