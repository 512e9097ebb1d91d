// smp_convert: looks into checkpoints, checks them, and takes them from one layout or program to another.
#include "launch/command/standard_output.h"
#include "launch/convert/convert_arguments.h"
#include "launch/convert/convert_commands.h"

using namespace smp;

namespace {

void run(int argc, char** argv) {
    const launch::ConvertArguments arguments = launch::parse_convert_arguments(argc, argv);
    if (arguments.answer) return launch::write_standard_output(*arguments.answer);
    switch (arguments.command) {
        case launch::ConvertCommand::inspect: return launch::inspect_checkpoint(arguments);
        case launch::ConvertCommand::verify: return launch::verify_checkpoint(arguments);
        case launch::ConvertCommand::export_model: return launch::export_checkpoint(arguments);
        case launch::ConvertCommand::import_model: return launch::import_checkpoint(arguments);
        case launch::ConvertCommand::relayout: return launch::relayout_checkpoint(arguments);
    }
}

}  // namespace

int main(int argc, char** argv) {
    return launch::answer_on_standard_output("smp_convert", "use a machine with more of it", [&] { run(argc, argv); });
}
