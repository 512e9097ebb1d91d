#include "launch/command/standard_output.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <unistd.h>

#include <fmt/format.h>

#include "launch/command/standard_streams.h"
#include "partition/job/problem.h"
#include "runtime/files/data_error.h"

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

int answer_on_standard_output(const char* program, const char* memory_remedy, const std::function<void()>& body) {
    prepare_standard_streams();
    const auto failure = [&](int code, const std::string& message) {
        print_failure(program, message);
        return code;
    };
    try {
        body();
        return 0;
    } catch (const ReaderIsGone&) {
        return 0;
    } catch (const partition::ConfigError& error) {
        return failure(2, error.what());
    } catch (const runtime::DataError& error) {
        return failure(3, error.what());
    } catch (const std::bad_alloc&) {
        return failure(5, fmt::format("out of memory; {}.", memory_remedy));
    } catch (const std::exception& error) {
        return failure(1, error.what());
    }
}

}  // namespace smp::launch
