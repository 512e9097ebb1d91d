#include "launch/convert/model_of_checkpoint.h"

#include <vector>

#include <fmt/format.h>

#include "models/gpt2/gpt2_spec.h"
#include "models/gpt2/options_text.h"
#include "runtime/checkpoint/checkpoint_folder.h"
#include "runtime/checkpoint/pieces.h"
#include "runtime/files/data_error.h"

namespace smp::launch {

runtime::Checkpoint open_checkpoint(const std::string& path) {
    const auto found = runtime::checkpoints_named(path);
    if (found.empty())
        throw runtime::DataError(
            fmt::format("\"{}\" is no checkpoint and holds none; name a folder with a {}, or the "
                        "output directory of a run",
                        path, runtime::kManifest));
    return runtime::Checkpoint(found.front());
}

models::Gpt2Options model_of(const runtime::Checkpoint& checkpoint) {
    std::vector<partition::Problem> problems;
    const models::Gpt2Options options = models::gpt2_options_in(checkpoint.manifest().configuration, problems);
    const auto manifest = (checkpoint.path() / runtime::kManifest).string();
    if (!problems.empty())
        throw runtime::DataError(fmt::format("\"{}\" describes no GPT-2 that is known here: {} {}", manifest,
                                             problems.front().key, problems.front().message));
    if (runtime::tensors_of(models::Gpt2(options)) != checkpoint.manifest().tensors)
        throw runtime::DataError(fmt::format("\"{}\" lists other tensors than the model has that it describes ({})",
                                             manifest, models::Gpt2(options).description()));
    return options;
}

}  // namespace smp::launch
