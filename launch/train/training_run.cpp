#include "launch/train/training_run.h"

#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "launch/command/standard_output.h"
#include "launch/command/terminal.h"
#include "launch/convert/hugging_face_folder.h"
#include "launch/plan/node_layout.h"
#include "launch/report/report_file.h"
#include "launch/train/last_words.h"
#include "launch/train/life_line.h"
#include "launch/train/metrics_page.h"
#include "launch/train/requests.h"
#include "launch/train/run_inputs.h"
#include "launch/train/run_start.h"
#include "runtime/agreement/agreement.h"
#include "runtime/agreement/hosts.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/checkpoint_folder.h"
#include "runtime/files/data_error.h"
#include "runtime/files/shown_text.h"
#include "runtime/records/console.h"
#include "runtime/records/node_log.h"
#include "runtime/records/run_directory.h"
#include "runtime/records/run_facts.h"
#include "runtime/records/run_files.h"
#include "runtime/records/screen.h"
#include "runtime/records/tensorboard.h"
#include "runtime/records/trace_file.h"
#include "runtime/session.h"
#include "runtime/trainer.h"

namespace smp::launch {

namespace {

/// What this rank writes: everything on rank 0, which has the directory; on others a log, where that is asked for.
runtime::Recorders recorders_of(const Config& config, const TrainArguments& arguments,
                                const std::optional<runtime::RunDirectory>& directory,
                                const std::vector<runtime::RankPlace>& places, int rank,
                                const std::function<void(const std::string&)>& tell) {
    const std::filesystem::path folder = arguments.output;
    runtime::Recorders recorders;
    if (directory) {
        recorders.push_back(std::make_unique<runtime::RunDescription>(*directory, to_json(config)));
        recorders.push_back(std::make_unique<runtime::MetricsFile>(directory->metrics()));
        recorders.push_back(std::make_unique<runtime::RunFacts>(*directory));
        recorders.push_back(std::make_unique<runtime::TraceFile>(folder / "trace.json"));
        if (config.logging.tensorboard)
            recorders.push_back(std::make_unique<runtime::TensorBoardFiles>(folder / runtime::kTensorBoard));
        const bool is_watched = !arguments.quiet && prints_to_terminal();
        recorders.push_back(
            std::make_unique<runtime::Console>(runtime::Console::Places{.screen = arguments.quiet ? -1 : STDOUT_FILENO,
                                                                        .bar = is_watched,
                                                                        .colours = is_watched && allows_colours(),
                                                                        .log = folder / "log.txt",
                                                                        .results = arguments.output}));
        recorders.push_back(std::make_unique<ReportFile>(folder, tell));
    } else if (config.logging.all_ranks) {
        recorders.push_back(std::make_unique<runtime::Console>(
            runtime::Console::Places{.log = folder / fmt::format("log.{}.txt", rank), .results = ""}));
    }
    if (runtime::writes_node_log(places, rank)) recorders.push_back(std::make_unique<runtime::NodeLog>(folder));
    return recorders;
}

/// checkpoint.export: the last step's weights. Of rank 0.
void export_model(const runtime::Job& job, const std::filesystem::path& output) {
    runtime::Checkpoint last(runtime::checkpoint_path(job.checkpoint.directory, job.training.steps));
    export_hugging_face(last, output / runtime::kExportedModel, runtime::OutputFolder::Existing::replace);
}

}  // namespace

int train(const TrainArguments& arguments, const Config& config, comms::Communicator& world,
          const TellFailure& tell_failure) {
    const bool leader = world.rank() == 0;
    world.set_limit(startup_limit(config.cluster));
    set_threads(config, world);
    const auto hosts = runtime::host_names(world);
    const runtime::Job job = job_of(config, arguments.output);
    std::optional<runtime::RunDirectory> directory;  // rank 0's
    RunBeginning beginning;
    std::optional<std::string> note_on_nodes;
    runtime::fail_together(world, [&] {
        note_on_nodes = compare_nodes(config.cluster, hosts);
        if (!leader) return;
        refuse_inputs_as_output(arguments, config, to_json(config));
        directory.emplace(arguments.output);
        beginning = beginning_of(arguments, config, job.checkpoint.directory, *directory);
    });
    beginning = shared(world, beginning);
    if (beginning.is_finished) {
        world.set_limit(limit_of_waits(config.cluster));  // for rank 0's files
        runtime::fail_together(world, [&] {
            if (leader && job.checkpoint.export_model &&
                !std::filesystem::exists(directory->path() / runtime::kExportedModel))
                export_model(job, directory->path());
        });
        if (leader && !arguments.quiet)
            write_standard_output(
                fmt::format("{} holds this run, finished: {} steps. Train again with --resume never, or elsewhere "
                            "with --output.\n",
                            arguments.output, config.training.steps));
        return 0;
    }
    keep_last_words_in(std::filesystem::path(arguments.output) / "log.txt");

    runtime::Screen screen(leader && !arguments.quiet && config.logging.level <= runtime::LogLevel::info ? STDOUT_FILENO
                                                                                                         : -1);
    const auto tell = [&](const std::string& sentence) {
        screen.write(runtime::escaped(sentence));
        try {
            runtime::LineFile(std::filesystem::path(arguments.output) / "log.txt", runtime::LineFile::Start::go_on)
                .write(runtime::escaped(sentence));
        } catch (const runtime::DataError&) {  // the screen has it
        }
    };
    runtime::TrainerOptions options{.loads_first = !beginning.checkpoints.empty()};
    options.token_folder = std::filesystem::absolute(arguments.output) / runtime::kTokenFolder;
    options.tell = [&](const std::string& sentence) { screen.write(runtime::escaped(sentence)); };
    std::optional<LifeLine> life_line;
    options.on_failure = [&](const std::exception& error) {
        if (life_line) life_line->fail();
        tell_failure(error);
    };
    runtime::Trainer trainer(job, world, std::move(options));
    const auto loaded =
        load_newest(trainer, beginning.checkpoints, "mend or remove them, or begin anew with --resume never");
    auto notes = config.notes;
    if (note_on_nodes) notes.push_back(*std::move(note_on_nodes));
    for (std::string& sentence : sentences_about(loaded, trainer.steps_done())) notes.push_back(std::move(sentence));
    world.set_limit(limit_of_waits(config.cluster));
    auto recorders = recorders_of(config, arguments, directory, trainer.places(), world.rank(), tell);
    std::vector<std::string> warnings;
    if (leader && config.logging.prometheus_port > 0) {
        try {
            recorders.push_back(std::make_unique<MetricsPage>(static_cast<int>(config.logging.prometheus_port)));
        } catch (const std::runtime_error& error) {
            warnings.emplace_back(error.what());
        }
    }
    life_line.emplace(world, trainer.places(), [](const std::string& sentence) { tell_log("smp_train", sentence); });
    runtime::Session session(trainer, std::move(recorders),
                             {.notes = std::move(notes),
                              .warnings = std::move(warnings),
                              .settings = {kernels_row(config, trainer.places()[world.rank()])},
                              .request = [&trainer] { return requested(trainer.steps_done()); }});
    take_requests();
    session.run();
    const bool exports = job.checkpoint.export_model && trainer.steps_done() == job.training.steps;
    if (exports)
        runtime::fail_together(world, [&] {
            if (leader) export_model(job, directory->path());
        });
    return 0;
}

}  // namespace smp::launch
