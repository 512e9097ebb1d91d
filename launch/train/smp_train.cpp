// smp_train: trains a model as its configuration says.
#include <optional>

#include "comms/device/rank_device.h"
#include "launch/command/standard_output.h"
#include "launch/command/standard_streams.h"
#include "launch/config/config.h"
#include "launch/plan/machine_memory.h"
#include "launch/plan/plan_report.h"
#include "launch/train/evaluation_run.h"
#include "launch/train/launcher.h"
#include "launch/train/requests.h"
#include "launch/train/run_ranks.h"
#include "launch/train/train_arguments.h"
#include "launch/train/training_run.h"
#include "runtime/agreement/agreement.h"

using namespace smp;

namespace {

/// A rank's coordinate, once the configuration says what the axes are.
std::string place_of(const comms::Communicator& world, const launch::Config& config) {
    if (config.training.steps == 0) return "";  // not loaded
    const auto topology = partition::make_topology(partition::degrees_in(config.parallel, world.size()),
                                                   config.parallel.placement_strategy);
    return partition::to_string(partition::coordinate_of(topology, world.rank()));
}

/// What a rank is here for. Collective.
int work(const launch::TrainArguments& arguments, const launch::Config& config, comms::Communicator& world,
         const launch::TellFailure& tell_failure) {
    return arguments.evaluate ? launch::evaluate(arguments, config, world, tell_failure)
                              : launch::train(arguments, config, world, tell_failure);
}

/// The environment's rank 0 says it for all of its processes, which do not know of each other.
int refuse_launcher(const launch::StatedWorld& stated, const std::string& why) {
    if (stated.rank == 0) launch::print_failure("smp_train", why);
    return 2;
}

/// What --dry-run answers: the job as smp_plan shows it, and what this machine lacks for its ranks as threads.
/// Allocates no model.
std::string dry_run(const launch::Config& config, int ranks, bool are_threads) {
    launch::PlanReport report = launch::report_on(
        config, ranks, are_threads ? partition::Transport::shared_memory : partition::Transport::messages);
    const auto available = are_threads ? launch::available_memory() : std::nullopt;
    if (available)
        if (auto sentence = launch::misfit_of_threads(report.plan, report.graph, *available))
            report.warnings.push_back(*std::move(sentence));
    return launch::to_text(report);
}

/// For MPI's own start, which comes before ranks can agree on what is wrong with a configuration: where nothing can be
/// read of it, its default.
comms::WaitLimit limit_of_start(int argc, char** argv) {
    partition::ClusterOptions cluster;
    try {
        const auto arguments = launch::parse_train_arguments(argc, argv);
        const auto stated = launch::stated_world();
        if (!arguments.answer)
            cluster = launch::load_config(arguments.config, arguments.sets,
                                          stated ? std::optional(stated->size) : std::nullopt)
                          .cluster;
    } catch (const std::exception&) {  // is said once there is a world
    }
    return launch::startup_limit(cluster);
}

/// One process is one rank. The world comes first, so that a mistake that every rank sees is reported by one of them.
int under_mpi(int argc, char** argv) {
    launch::TrainArguments arguments;
    launch::Config config;
    const launch::RankRun run{.program = "smp_train",
                              .communicator = {.limit = limit_of_start(argc, argv)},
                              .place = [&](const comms::Communicator& world) { return place_of(world, config); }};
    return launch::run_under_mpi(run, [&](comms::Communicator& world, const launch::TellFailure& tell_failure) {
        const auto stated = launch::stated_world();
        if (const auto why = launch::contradiction(stated, world.size())) return refuse_launcher(*stated, *why);
        runtime::fail_together(world, [&] {
            arguments = launch::parse_train_arguments(argc, argv);
            if (arguments.ranks)
                throw partition::ConfigError(partition::Problem{
                    "--ranks", "is for local mode; under mpirun the number of ranks is mpirun's -np"});
            if (!arguments.answer) config = launch::load_config(arguments.config, arguments.sets, world.size());
        });
        if (!arguments.answer && !arguments.dry_run) return work(arguments, config, world, tell_failure);
        if (world.rank() == 0)
            launch::write_standard_output(arguments.answer ? *arguments.answer
                                                           : dry_run(config, world.size(), /*are_threads=*/false));
        return 0;
    });
}

/// Ranks are threads of this process.
int locally(int argc, char** argv) {
    launch::TrainArguments arguments;
    launch::Config config;
    try {
        arguments = launch::parse_train_arguments(argc, argv);
        if (arguments.answer) {
            launch::write_standard_output(*arguments.answer);
            return 0;
        }
        if (arguments.launcher == launch::Launcher::none) launch::forget_launcher();
        const auto stated = launch::stated_world();
        if (const auto why = launch::contradiction(stated, std::nullopt);
            why && arguments.launcher != launch::Launcher::none)
            return refuse_launcher(*stated, *why);
        config = launch::load_config(arguments.config, arguments.sets, arguments.ranks);
        const int ranks = arguments.ranks.value_or(config.world());
        if (arguments.dry_run) {
            launch::write_standard_output(dry_run(config, ranks, /*are_threads=*/true));
            return 0;
        }
        launch::require_few_threads(ranks, config.cluster.threads_per_rank.value_or(1));
        launch::require_room_for_threads(config, ranks);
    } catch (const launch::ReaderIsGone&) {
        return 0;
    } catch (const std::exception& error) {
        launch::print_failure("smp_train", runtime::sentence_of(error));
        return runtime::exit_code_of(error);
    }
    const launch::RankRun run{.program = "smp_train",
                              .communicator = {},
                              .place = [&](const comms::Communicator& world) { return place_of(world, config); }};
    return launch::run_as_threads(run, arguments.ranks.value_or(config.world()),
                                  [&](comms::Communicator& world, const launch::TellFailure& tell_failure) {
                                      return work(arguments, config, world, tell_failure);
                                  });
}

}  // namespace

int main(int argc, char** argv) {
    comms::prepare_cuda_queues();
    launch::prepare_standard_streams();
    launch::take_signals(/*speaks=*/launch::stated_world().value_or(launch::StatedWorld{}).rank == 0);
    return launch::is_under_mpi(launch::launcher_of(argc, argv)) ? under_mpi(argc, argv) : locally(argc, argv);
}
