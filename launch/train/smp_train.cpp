// smp_train: trains a model as its configuration says.
#include <optional>

#include "launch/command/standard_output.h"
#include "launch/command/standard_streams.h"
#include "launch/config/config.h"
#include "launch/train/evaluation_run.h"
#include "launch/train/launcher.h"
#include "launch/train/run_ranks.h"
#include "launch/train/train_arguments.h"
#include "launch/train/training_run.h"
#include "runtime/execution/agreement.h"

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
int work(const launch::TrainArguments& arguments, const launch::Config& config, comms::Communicator& world) {
    return arguments.evaluate ? launch::evaluate(arguments, config, world) : launch::train(arguments, config, world);
}

/// The environment's rank 0 says it for all of its processes, which do not know of each other.
int refuse_launcher(const launch::StatedWorld& stated, const std::string& why) {
    if (stated.rank == 0) launch::print_failure("smp_train", why);
    return 2;
}

/// One process is one rank. The world comes first, so that a mistake that every rank sees is reported by one of them.
int under_mpi(int argc, char** argv) {
    launch::TrainArguments arguments;
    launch::Config config;
    const launch::RankRun run{.program = "smp_train",
                              .communicator = {},
                              .place = [&](const comms::Communicator& world) { return place_of(world, config); }};
    return launch::run_under_mpi(run, [&](comms::Communicator& world) {
        const auto stated = launch::stated_world();
        if (const auto why = launch::contradiction(stated, world.size())) return refuse_launcher(*stated, *why);
        runtime::fail_together(world, [&] {
            arguments = launch::parse_train_arguments(argc, argv);
            if (arguments.ranks)
                throw partition::ConfigError(partition::Problem{
                    "--ranks", "is for local mode; under mpirun the number of ranks is mpirun's -np"});
            if (!arguments.answer) config = launch::load_config(arguments.config, arguments.sets, world.size());
        });
        if (!arguments.answer) return work(arguments, config, world);
        if (world.rank() == 0) launch::write_standard_output(*arguments.answer);
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
        launch::require_few_threads(arguments.ranks.value_or(config.world()),
                                    config.cluster.threads_per_rank.value_or(1));
    } catch (const launch::ReaderIsGone&) {
        return 0;
    } catch (const std::exception& error) {
        launch::print_failure("smp_train", error.what());
        return runtime::exit_code_of(error);
    }
    const launch::RankRun run{.program = "smp_train",
                              .communicator = {},
                              .place = [&](const comms::Communicator& world) { return place_of(world, config); }};
    return launch::run_as_threads(run, arguments.ranks.value_or(config.world()),
                                  [&](comms::Communicator& world) { return work(arguments, config, world); });
}

}  // namespace

int main(int argc, char** argv) {
    launch::prepare_standard_streams();
    return launch::is_under_mpi(launch::launcher_of(argc, argv)) ? under_mpi(argc, argv) : locally(argc, argv);
}
