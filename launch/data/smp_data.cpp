// smp_data: makes token files out of text, shows what is in one, turns tokens back into text.
#include "launch/command/standard_output.h"
#include "launch/data/data_arguments.h"
#include "launch/data/data_commands.h"

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

}  // namespace

int main(int argc, char** argv) {
    return launch::answer_on_standard_output("smp_data", "cut the input into several files", [&] { run(argc, argv); });
}
