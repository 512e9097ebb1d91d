// smp_bench: measures a job in several configurations, or the parts that it is made of.
#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "comms/device/rank_device.h"
#include "launch/bench/bench_arguments.h"
#include "launch/bench/job_benchmark.h"
#include "launch/bench/links.h"
#include "launch/bench/operators.h"
#include "launch/command/config_arguments.h"
#include "launch/command/standard_output.h"
#include "launch/command/standard_streams.h"
#include "launch/config/config.h"
#include "launch/report/report_command.h"
#include "launch/train/launcher.h"
#include "launch/train/run_ranks.h"
#include "runtime/agreement/agreement.h"

using namespace smp;

namespace {

constexpr const char* kProgram = "smp_bench";

/// The environment's rank 0 says it for all of its processes, which do not know of each other.
int refuse_launcher(const launch::StatedWorld& stated, const std::string& why) {
    if (stated.rank == 0) launch::print_failure(kProgram, why);
    return 2;
}

/// What the ranks are here for.
struct Task {
    launch::BenchArguments arguments;
    std::vector<launch::Measurement> rows;  // of a job

    /// `available`: ranks under mpirun.
    Task(int argc, char** argv, std::optional<int> available) : arguments(launch::parse_bench_arguments(argc, argv)) {
        if (arguments.command == launch::BenchCommand::operators && available.value_or(1) > 1 && !arguments.answer)
            launch::refuse_argument("operators", "is the work of one process; start it without mpirun");
        if (arguments.command == launch::BenchCommand::links && available && !arguments.ranks.empty())
            launch::refuse_argument("--ranks", "is for local mode; under mpirun the number of ranks is mpirun's -np");
        if (arguments.command == launch::BenchCommand::job && !arguments.answer)
            rows = launch::rows_of(arguments, available);
    }

    /// Of local mode.
    int ranks() const {
        if (arguments.command == launch::BenchCommand::links)
            return arguments.ranks.empty() ? 2 : arguments.ranks.front();
        int most = 1;
        for (const launch::Measurement& row : rows) most = std::max(most, row.ranks);
        return most;
    }

    /// Collective.
    int perform(bool are_threads, comms::Communicator& world, const launch::TellFailure& tell_failure) const {
        switch (arguments.command) {
            case launch::BenchCommand::job:
                return launch::benchmark_job(arguments, rows, are_threads, world, tell_failure);
            case launch::BenchCommand::links: return launch::measure_links(arguments, are_threads, world);
            case launch::BenchCommand::operators: launch::measure_operators(arguments); return 0;
        }
        return 1;
    }
};

/// For MPI's own start, which comes before ranks can agree on what is wrong with a configuration: where nothing can be
/// read of it, its default.
comms::WaitLimit limit_of_start(int argc, char** argv) {
    partition::ClusterOptions cluster;
    try {
        const auto arguments = launch::parse_bench_arguments(argc, argv);
        if (!arguments.config.empty()) cluster = launch::load_config(arguments.config, arguments.sets).cluster;
    } catch (const std::exception&) {  // is said once there is a world
    }
    return launch::startup_limit(cluster);
}

/// One process is one rank. The world comes first, so that a mistake that every rank sees is reported by one of them.
int under_mpi(int argc, char** argv) {
    const launch::RankRun run{.program = kProgram, .communicator = {.limit = limit_of_start(argc, argv)}};
    return launch::run_under_mpi(run, [&](comms::Communicator& world, const launch::TellFailure& tell_failure) {
        const auto stated = launch::stated_world();
        if (const auto why = launch::contradiction(stated, world.size())) return refuse_launcher(*stated, *why);
        std::optional<Task> task;
        runtime::fail_together(world, [&] { task.emplace(argc, argv, world.size()); });
        if (!task->arguments.answer) return task->perform(/*are_threads=*/false, world, tell_failure);
        if (world.rank() == 0) launch::write_standard_output(*task->arguments.answer);
        return 0;
    });
}

/// Ranks are threads of this process.
int locally(int argc, char** argv) {
    std::optional<Task> task;
    try {
        task.emplace(argc, argv, std::nullopt);
        if (task->arguments.answer) {
            launch::write_standard_output(*task->arguments.answer);
            return 0;
        }
        const launch::Launcher launcher = task->arguments.launcher;
        if (launcher == launch::Launcher::none) launch::forget_launcher();
        const auto stated = launch::stated_world();
        if (const auto why = launch::contradiction(stated, std::nullopt); why && launcher != launch::Launcher::none)
            return refuse_launcher(*stated, *why);
        launch::require_few_threads(task->ranks(), 1);
    } catch (const launch::ReaderIsGone&) {
        return 0;
    } catch (const std::exception& error) {
        launch::print_failure(kProgram, runtime::sentence_of(error));
        return runtime::exit_code_of(error);
    }
    return launch::run_as_threads({.program = kProgram, .communicator = {}}, task->ranks(),
                                  [&](comms::Communicator& world, const launch::TellFailure& tell_failure) {
                                      return task->perform(/*are_threads=*/true, world, tell_failure);
                                  });
}

/// The one command that measures nothing, and starts no ranks.
int report(int argc, char** argv) {
    try {
        const auto arguments = launch::parse_report_arguments("smp_bench report", argc, argv);
        if (arguments.answer)
            launch::write_standard_output(*arguments.answer);
        else
            launch::write_report(arguments);
        return 0;
    } catch (const launch::ReaderIsGone&) {
        return 0;
    } catch (const std::exception& error) {
        launch::print_failure(kProgram, runtime::sentence_of(error));
        return runtime::exit_code_of(error);
    }
}

}  // namespace

int main(int argc, char** argv) {
    comms::prepare_cuda_queues();
    launch::prepare_standard_streams();
    if (argc > 1 && std::string_view(argv[1]) == "report") return report(argc - 1, argv + 1);
    return launch::is_under_mpi(launch::launcher_of(argc, argv)) ? under_mpi(argc, argv) : locally(argc, argv);
}
