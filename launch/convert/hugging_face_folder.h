// A GPT-2 as transformers reads it.
#pragma once

#include <filesystem>

#include "models/gpt2/options.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/files/output_folder.h"

namespace smp::launch {

/// Writes config.json and model.safetensors (fp32, names as transformers writes them, a tied head left out) of the
/// checkpoint's weights into `folder`, which is complete or not there. Each byte is read under its sum, in bounded
/// memory. Throws DataError.
void export_hugging_face(runtime::Checkpoint& checkpoint, const std::filesystem::path& folder,
                         runtime::OutputFolder::Existing existing);

/// What the config.json of a folder of weights, or beside a file of them, says, by the rules of model.preset. Throws
/// DataError where there is none, or it describes no GPT-2 that is known here.
models::Gpt2Options described_model(const std::filesystem::path& source);

}  // namespace smp::launch
