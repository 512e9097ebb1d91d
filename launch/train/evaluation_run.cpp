#include "launch/train/evaluation_run.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/config_arguments.h"
#include "launch/command/standard_output.h"
#include "launch/plan/node_layout.h"
#include "launch/train/run_start.h"
#include "runtime/agreement/agreement.h"
#include "runtime/agreement/hosts.h"
#include "runtime/files/shown_text.h"
#include "runtime/trainer.h"

namespace smp::launch {

int evaluate(const TrainArguments& arguments, const Config& config, comms::Communicator& world,
             const TellFailure& tell_failure) {
    world.set_limit(startup_limit(config.cluster));
    set_threads(config, world);
    const auto hosts = runtime::host_names(world);
    const runtime::Job job = job_of(config, arguments.output);
    RunBeginning beginning;
    runtime::fail_together(world, [&] {
        compare_nodes(config.cluster, hosts);
        if (!runtime::has_validation_data(job.data))
            refuse_argument("--evaluate", "has no validation data; set data.validation or data.validation_fraction");
        if (world.rank() == 0) beginning.checkpoints = evaluated_checkpoints(arguments, job.checkpoint.directory);
    });
    beginning = shared(world, beginning);

    runtime::TrainerOptions options{.loads_first = !beginning.checkpoints.empty()};
    options.on_failure = tell_failure;
    runtime::Trainer trainer(job, world, std::move(options));
    const LoadedCheckpoint loaded =
        load_newest(trainer, beginning.checkpoints, "evaluate another one with --resume DIR");
    world.set_limit(limit_of_waits(config.cluster));
    const double loss = trainer.evaluate();
    if (!std::isfinite(loss))  // the same on every rank
        runtime::throw_agreed(
            "the validation loss is not finite; look at the checkpoint, and for tokens in the "
            "validation data that the model never saw in training",
            2, 0);
    if (world.rank() != 0) return 0;
    const auto row = [](const char* name, const std::string& value) {
        write_standard_output(fmt::format("{:<15} | {}\n", name, runtime::escaped(value)));
    };
    for (const std::string& sentence : loaded.passed_over) row("passed over", sentence);
    row("checkpoint", loaded.path.empty() ? "none: initial weights" : loaded.path.string());
    if (!loaded.changed.empty()) row("changed since", fmt::format("{}", fmt::join(loaded.changed, "; ")));
    row("step", fmt::format("{}", trainer.steps_done()));
    row("validation loss", fmt::format("{}", loss));
    return 0;
}

}  // namespace smp::launch
