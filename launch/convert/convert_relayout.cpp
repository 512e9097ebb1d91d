#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/standard_output.h"
#include "launch/config/config.h"
#include "launch/convert/convert_commands.h"
#include "launch/convert/model_of_checkpoint.h"
#include "partition/job/problem.h"
#include "runtime/checkpoint/configurations.h"
#include "runtime/checkpoint/pieces.h"
#include "runtime/checkpoint/relaid.h"
#include "runtime/files/shown_text.h"
#include "runtime/job/job_plan.h"

namespace smp::launch {

void relayout_checkpoint(const ConvertArguments& arguments) {
    const Config config = load_config(arguments.config, arguments.sets, arguments.ranks);
    runtime::Checkpoint checkpoint = open_checkpoint(arguments.source);
    model_of(checkpoint);  // refuses what is not whole
    runtime::Manifest manifest = checkpoint.manifest();
    const auto change = runtime::change_between(manifest.configuration, config.canonical_text);
    if (!change.refused.empty())
        throw partition::ConfigError(partition::Problem{
            "--config", fmt::format("is {}, which is of another model or tokenizer than {} ({}); name one of the same",
                                    arguments.config, checkpoint.path().string(), fmt::join(change.refused, "; "))});
    const partition::Plan plan = runtime::plan_of(config, config.world());
    manifest.plan = fmt::format("{:016x}", partition::hash_of(plan));
    manifest.configuration = config.canonical_text;
    manifest.history.push_back({.after = manifest.state.steps,
                                .by = "relayout",
                                .from = std::filesystem::absolute(checkpoint.path()).string(),
                                .layout = runtime::layout_text(plan),
                                .changed = change.allowed});
    manifest.files.clear();
    runtime::write_checkpoint(
        arguments.target, manifest,
        runtime::relaid(checkpoint, plan, *config.model.spec, partition::precision_of(config.parallel)));
    write_standard_output(fmt::format("{}: step {} as {} write it\n", runtime::escaped(arguments.target),
                                      manifest.state.steps, runtime::layout_text(plan)));
}

}  // namespace smp::launch
