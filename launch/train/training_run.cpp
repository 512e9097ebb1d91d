#include "launch/train/training_run.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include "launch/command/terminal.h"
#include "launch/train/run_ranks.h"
#include "models/gpt2/gpt2_parameters.h"
#include "partition/foresight/measured_durations.h"
#include "partition/foresight/memory_forecast.h"
#include "partition/foresight/warnings.h"
#include "runtime/data/tokenizer.h"
#include "runtime/execution/agreement.h"
#include "runtime/job/job_plan.h"
#include "runtime/records/console.h"
#include "runtime/records/plan_json.h"
#include "runtime/records/run_directory.h"
#include "runtime/records/trace_file.h"
#include "runtime/trainer.h"

namespace smp::launch {

namespace {

using runtime::LogLevel;
using runtime::TraceFile;

/// What rank 0 decided, on every rank.
bool shared_decision(comms::Communicator& world, bool decision) {
    const at::Tensor flag = at::full({1}, decision ? 1 : 0, at::kLong);
    world.broadcast(flag, 0).wait();
    return flag.const_data_ptr<std::int64_t>()[0] != 0;
}

std::vector<std::string> module_names(const models::ModelOptions& model) {
    std::vector<std::string> names;
    for (int module = 0; module < models::gpt2_module_count(model); ++module)
        names.push_back(models::gpt2_module_name(model, module));
    return names;
}

std::vector<std::pair<std::string, std::string>> settings_of(const Config& config, const partition::Plan& plan,
                                                             int threads, const std::string& backend) {
    const partition::Degrees& degrees = plan.topology.degrees;
    const auto& model = config.model;
    const std::int64_t sequences = runtime::global_batch(config.training, config.parallel, degrees.rdp);
    const std::int64_t length = runtime::sequence_length(config.training, config.model);
    std::string stages;
    for (const partition::Chunk& chunk : plan.chunks)
        stages += fmt::format("{}{}", stages.empty() ? "" : " + ", chunk.end_module - chunk.first_module);
    return {
        {"model",
         fmt::format("{} layers, {} wide, {} heads, vocabulary {}: {:.2f} M parameters", model.n_layer, model.n_embd,
                     model.n_head, model.vocab_size, static_cast<double>(models::parameter_count(model)) / 1e6)},
        {"ranks", fmt::format("{} ({}): {} pipeline x {} tensor x {} data, placement {}, {} thread{} each",
                              degrees.world(), backend, degrees.pp, degrees.tp, degrees.rdp,
                              partition::placement_letters(plan.topology), threads, threads == 1 ? "" : "s")},
        {"stages", fmt::format("{} modules", stages)},
        {"batch", fmt::format("{} sequences of {} tokens in {} microbatch{}, at most {} active", sequences, length,
                              plan.microbatches, plan.microbatches == 1 ? "" : "es", plan.active_microbatches)},
        {"numbers", partition::word_of(partition::precision_of(config.parallel))},
        {"steps", fmt::format("{} ({} tokens)", config.training.steps, config.training.steps * sequences * length)},
        {"plan", fmt::format("{:016x}", partition::hash_of(plan))},
    };
}

}  // namespace

int train(const TrainArguments& arguments, const Config& config, comms::Communicator& world) {
    const bool leader = world.rank() == 0;
    const auto& training = config.training;
    const int threads = config.cluster.threads_per_rank.value_or(fair_thread_count(world));
    at::set_num_threads(threads);

    std::optional<runtime::RunDirectory> directory;  // rank 0's, as its files but for log.<rank>.txt
    const std::string config_json = to_json(config);
    if (!arguments.dry_run) {
        runtime::fail_together(world, [&] {
            if (leader) directory.emplace(arguments.output);
        });
        const bool finished = leader && arguments.resume == Resume::automatic &&
                              directory->holds_finished_run(config_json, config.training.steps);
        if (shared_decision(world, finished)) {
            if (leader)
                fmt::print(
                    "{} holds this run, finished: {} steps. Train again with --resume never, or elsewhere with "
                    "--output.\n",
                    arguments.output, config.training.steps);
            return 0;
        }
    }

    const auto limit = [&](double seconds) {
        world.set_timeout(std::chrono::milliseconds(static_cast<std::int64_t>(1e3 * seconds)));
    };
    limit(config.cluster.startup_timeout_seconds);
    runtime::Trainer trainer(config.job(), world);
    limit(config.cluster.timeout_seconds);
    const auto settings =
        settings_of(config, trainer.plan(), threads, comms::launched_by_mpi() ? "processes" : "threads of one process");
    if (arguments.dry_run) {
        if (leader)
            for (const auto& [name, value] : settings) fmt::print("{:<7}| {}\n", name, value);
        return 0;
    }
    std::optional<runtime::LineFile> metrics;
    std::optional<runtime::Console> console;
    runtime::fail_together(world, [&] {
        const std::filesystem::path folder = arguments.output;
        if (leader) {
            std::filesystem::remove(folder / "trace.json");  // of another run; this one may write none
            directory->write_file("config.json", config_json);
            directory->write_file("plan.json", runtime::plan_to_json(trainer.plan(), module_names(config.model)));
            metrics.emplace(directory->metrics());
            console.emplace(runtime::Console::Settings{.screen = stdout,
                                                       .bar = prints_to_terminal(),
                                                       .log = folder / "log.txt",
                                                       .level = config.logging.level,
                                                       .steps = training.steps});
            console->settings(settings);
            const auto graph = runtime::graph_of(config.job(), world.size());
            for (const std::string& warning :
                 partition::warnings_of(trainer.plan(), graph, config.parallel, config.cluster))
                console->say(LogLevel::warning, "warning: " + warning);
            for (const std::string& warning : trainer.warnings())
                console->say(LogLevel::warning, "warning: " + warning);
            for (const std::string& note : config.notes) console->say(LogLevel::info, "note: " + note);
        } else if (config.logging.all_ranks) {
            console.emplace(runtime::Console::Settings{.log = folder / fmt::format("log.{}.txt", world.rank()),
                                                       .level = config.logging.level,
                                                       .steps = training.steps});
            console->settings(
                {{"rank", fmt::format("{} ({})", world.rank(), partition::to_string(trainer.coordinate()))}});
        }
    });

    std::optional<TraceFile> trace;
    while (trainer.steps_done() < training.steps) {
        const auto& traced = config.logging.trace_steps;
        const bool is_traced = std::find(traced.begin(), traced.end(), trainer.steps_done() + 1) != traced.end();
        partition::StepTimes times;
        runtime::StepRecord record = is_traced ? trainer.step(times) : trainer.step();
        const bool last = record.step == training.steps;
        const bool evaluates = training.evaluate_every > 0 && (record.step % training.evaluate_every == 0 || last);
        if (evaluates) record.validation_loss = trainer.evaluate();
        if (leader) metrics->write(runtime::to_json_line(record));
        if (console && !record.notice.empty()) console->say(LogLevel::warning, record.notice);
        if (console)
            console->step(record, evaluates || last || record.step % config.logging.every == 0 || record.step == 1);
        if (is_traced && leader) {
            if (!trace) trace.emplace(std::filesystem::path(arguments.output) / "trace.json", trainer.plan());
            trace->add(times);
            console->say(LogLevel::info, partition::comparison(trainer.plan(), trainer.graph(), times));
        }
        if (evaluates && training.sample_tokens > 0) {
            const auto tokens = trainer.sample();
            if (leader)
                console->say(LogLevel::info, fmt::format("--- sample ---\n{}{}\n--------------", training.sample_prompt,
                                                         runtime::make_tokenizer(config.data)->decode(tokens)));
        }
    }
    if (leader) {
        console->say(LogLevel::info, partition::memory_comparison(trainer.plan(), trainer.graph(),
                                                                  trainer.coordinate().stage(), trainer.memory()));
        console->say(LogLevel::info, fmt::format("done: results in {}", arguments.output));
    }
    return 0;
}

}  // namespace smp::launch
