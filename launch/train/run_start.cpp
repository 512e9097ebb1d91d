#include "launch/train/run_start.h"

#include <algorithm>
#include <exception>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/config_arguments.h"
#include "models/gpt2/gpt2.h"
#include "models/kernels/kernel_table.h"
#include "runtime/agreement/agreement.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/checkpoint_folder.h"
#include "runtime/checkpoint/configurations.h"
#include "runtime/files/data_error.h"

namespace smp::launch {

namespace {

namespace fs = std::filesystem;

/// Refuses to train on where a run is finished that was of another configuration.
void require_same_configuration(const TrainArguments& arguments, const Config& config, const std::string& earlier) {
    auto change = runtime::change_between(earlier, canonical_text(config));
    auto& keys = change.refused;
    keys.insert(keys.end(), change.allowed.begin(), change.allowed.end());
    if (keys.empty()) return;
    refuse_argument("--output", fmt::format("is {}, which holds a finished run of another configuration ({}); choose "
                                            "another --output, --resume never to begin anew here (the earlier run "
                                            "moves to earlier/), or --resume {} to go on from it",
                                            arguments.output, fmt::join(keys, "; "), arguments.output));
}

std::vector<fs::path> paths_of(const std::vector<runtime::FoundCheckpoint>& found) {
    std::vector<fs::path> paths;
    for (const auto& checkpoint : found) paths.push_back(checkpoint.path);
    return paths;
}

/// What --resume DIR names: a checkpoint, the folder of a run's checkpoints, or a run's output directory.
std::vector<fs::path> named_checkpoints(const fs::path& named) {
    if (auto found = runtime::checkpoints_named(named); !found.empty()) return found;
    refuse_argument("--resume",
                    fmt::format("is {}, which is no checkpoint and holds none; name the output directory of "
                                "a run or one of its checkpoints",
                                named.string()));
}

bool lies_in(const fs::path& path, const fs::path& folder) {
    std::error_code none;
    const auto inside = fs::weakly_canonical(path, none), outside = fs::weakly_canonical(folder, none);
    return std::mismatch(outside.begin(), outside.end(), inside.begin(), inside.end()).first == outside.end();
}

}  // namespace

RunBeginning beginning_of(const TrainArguments& arguments, const Config& config, const std::filesystem::path& folder,
                          const runtime::RunDirectory& directory) {
    runtime::remove_partial_checkpoints(folder);
    RunBeginning beginning;
    if (!arguments.resume_from.empty()) {
        beginning.checkpoints = named_checkpoints(arguments.resume_from);
        if (!lies_in(beginning.checkpoints.front(), folder)) directory.set_earlier_run_aside(folder);
        return beginning;
    }
    const auto found = runtime::checkpoints_in(folder);
    if (arguments.resume == Resume::never || found.empty()) {
        directory.set_earlier_run_aside(folder);
        return beginning;
    }
    beginning.checkpoints = paths_of(found);
    if (found.front().step < config.training.steps) return beginning;
    try {
        const runtime::Checkpoint last(found.front().path);
        require_same_configuration(arguments, config, last.manifest().configuration);
        beginning.is_finished = true;
    } catch (const runtime::DataError&) {  // not whole: going on says so, and from which one it does
    }
    return beginning;
}

RunBeginning shared(comms::Communicator& world, const RunBeginning& beginning) {
    constexpr char kEnd = '\0';
    std::string text(1, beginning.is_finished ? '1' : '0');
    for (const fs::path& path : beginning.checkpoints) text += path.string() + kEnd;
    text = runtime::text_of_first(world, text);
    RunBeginning same{.is_finished = text[0] == '1', .checkpoints = {}};
    for (std::size_t at = 1, end = 0; at < text.size(); at = end + 1) {
        end = text.find(kEnd, at);
        same.checkpoints.emplace_back(text.substr(at, end - at));
    }
    return same;
}

std::vector<fs::path> evaluated_checkpoints(const TrainArguments& arguments, const fs::path& checkpoints) {
    if (!arguments.resume_from.empty()) return named_checkpoints(arguments.resume_from);
    if (arguments.resume == Resume::never) return {};
    if (auto found = paths_of(runtime::checkpoints_in(checkpoints)); !found.empty()) return found;
    throw runtime::DataError(fmt::format(
        "\"{}\" has no checkpoint to evaluate; name a run by --output, a run or a checkpoint by --resume, or evaluate "
        "the initial weights by --resume never",
        checkpoints.string()));
}

runtime::Job job_of(const Config& config, const std::string& output) {
    runtime::Job job = static_cast<const runtime::Job&>(config);  // what the programs know of it besides stays here
    job.model = models::gpt2(config.gpt2);
    if (job.checkpoint.directory.empty()) job.checkpoint.directory = fs::absolute(output) / "checkpoints";
    return job;
}

namespace {

models::kernels::Storage storage_of(partition::Precision precision) {
    switch (precision) {
        case partition::Precision::bf16: return models::kernels::Storage::bf16;
        case partition::Precision::fp16: return models::kernels::Storage::fp16;
        case partition::Precision::fp32: break;
    }
    return models::kernels::Storage::fp32;
}

}  // namespace

std::pair<std::string, std::string> kernels_row(const Config& config, const runtime::RankPlace& rank) {
    const bool on_cuda = rank.device.starts_with("cuda");
    auto table =
        models::kernels::kernel_table(on_cuda ? models::kernels::DeviceKind::cuda : models::kernels::DeviceKind::cpu,
                                      storage_of(partition::precision_of(config.parallel)), head_width(config.gpt2));
    table.push_back({"AdamW", on_cuda ? "own kernels" : "ATen's fused one"});  // runtime/update/adamw.cpp
    return {"kernels", in_words(table)};
}

LoadedCheckpoint load_newest(runtime::Trainer& trainer, const std::vector<fs::path>& checkpoints,
                             const std::string& remedy) {
    LoadedCheckpoint loaded;
    for (const fs::path& checkpoint : checkpoints) {
        try {
            loaded.changed = trainer.load(checkpoint);
            loaded.path = checkpoint;
            return loaded;
        } catch (const runtime::DataError& error) {
            loaded.passed_over.push_back(fmt::format("{} is passed over: {}", checkpoint.string(), error.what()));
        }
    }
    if (checkpoints.empty()) return loaded;
    runtime::throw_agreed(fmt::format("no checkpoint is whole: {}; {}", fmt::join(loaded.passed_over, "; "), remedy), 3,
                          0);
}

std::vector<std::string> sentences_about(const LoadedCheckpoint& loaded, std::int64_t steps_done) {
    std::vector<std::string> sentences = loaded.passed_over;
    if (loaded.path.empty()) return sentences;
    sentences.push_back(fmt::format("goes on after step {} from {}", steps_done, loaded.path.string()));
    if (!loaded.changed.empty())
        sentences.push_back(fmt::format("not as in the run that wrote it: {}", fmt::join(loaded.changed, "; ")));
    return sentences;
}

}  // namespace smp::launch
