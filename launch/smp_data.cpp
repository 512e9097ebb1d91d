// smp_data: makes token files out of text, shows what is in one, turns tokens back into text.
#include <csignal>
#include <new>

#include <fmt/format.h>

#include "launch/data_arguments.h"
#include "launch/data_commands.h"
#include "launch/standard_output.h"
#include "partition/problem.h"
#include "runtime/data_error.h"

using namespace smp;

namespace {

void run(int argc, char** argv) {
    const launch::DataArguments arguments = launch::parse_data_arguments(argc, argv);
    if (arguments.answer) return launch::write_standard_output(*arguments.answer);
    switch (arguments.command) {
        case launch::DataCommand::encode: return launch::encode_text(arguments);
        case launch::DataCommand::inspect: return launch::inspect_tokens(arguments);
        case launch::DataCommand::decode: return launch::decode_tokens(arguments);
    }
}

int failure(int code, const char* message) {
    fmt::print(stderr, "smp_data: error: {}\n", message);
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);  // writes report it instead
    try {
        run(argc, argv);
        return 0;
    } catch (const launch::ReaderIsGone&) {
        return 0;
    } catch (const partition::ConfigError& error) {
        return failure(2, error.what());
    } catch (const runtime::DataError& error) {
        return failure(3, error.what());
    } catch (const std::bad_alloc&) {
        return failure(5, "out of memory; cut the input into several files.");
    } catch (const std::exception& error) {
        return failure(1, error.what());
    }
}
