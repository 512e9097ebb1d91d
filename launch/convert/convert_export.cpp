#include <fmt/format.h>

#include "launch/command/standard_output.h"
#include "launch/convert/convert_commands.h"
#include "launch/convert/hugging_face_folder.h"
#include "launch/convert/llmc_model.h"
#include "launch/convert/model_of_checkpoint.h"
#include "models/gpt2/gpt2_spec.h"
#include "runtime/files/shown_text.h"

namespace smp::launch {

void export_checkpoint(const ConvertArguments& arguments) {
    runtime::Checkpoint checkpoint = open_checkpoint(arguments.source);
    switch (arguments.model) {
        case ModelFormat::huggingface:
            export_hugging_face(checkpoint, arguments.target, runtime::OutputFolder::Existing::keep);
            break;
        case ModelFormat::llmc: export_llmc(checkpoint, arguments.target); break;
    }
    write_standard_output(fmt::format("{}: {}, of step {}\n", runtime::escaped(arguments.target),
                                      models::Gpt2(model_of(checkpoint)).description(),
                                      checkpoint.manifest().state.steps));
}

}  // namespace smp::launch
