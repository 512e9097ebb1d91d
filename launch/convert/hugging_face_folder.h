// A GPT-2 as transformers reads it.
#pragma once

#include <filesystem>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/files/output_folder.h"

namespace smp::launch {

/// Writes config.json and model.safetensors (fp32, names as transformers writes them, a tied head left out) of the
/// checkpoint's weights into `folder`, which is complete or not there. Each byte is read under its sum, in bounded
/// memory. Throws DataError.
void export_hugging_face(runtime::Checkpoint& checkpoint, const std::filesystem::path& folder,
                         runtime::OutputFolder::Existing existing);

}  // namespace smp::launch
