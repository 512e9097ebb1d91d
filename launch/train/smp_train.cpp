// smp_train: trains a model as its configuration says.
#include <csignal>

#include <fmt/format.h>

#include "launch/config/config.h"
#include "launch/train/run_ranks.h"
#include "launch/train/train_arguments.h"
#include "launch/train/training_run.h"
#include "runtime/execution/agreement.h"
#include "runtime/files/shown_text.h"

using namespace smp;

namespace {

/// A rank's coordinate, once the configuration says what the axes are.
std::string place_of(const comms::Communicator& world, const launch::Config& config) {
    if (config.training.steps == 0) return "";  // not loaded
    const auto topology = partition::make_topology(partition::degrees_in(config.parallel, world.size()),
                                                   config.parallel.placement_strategy);
    return partition::to_string(partition::coordinate_of(topology, world.rank()));
}

/// One process is one rank. The world comes first, so that a mistake that every rank sees is reported by one of them.
int under_mpi(int argc, char** argv) {
    launch::TrainArguments arguments;
    launch::Config config;
    const launch::RankRun run{.program = "smp_train",
                              .communicator = {},
                              .place = [&](const comms::Communicator& world) { return place_of(world, config); }};
    return launch::run_under_mpi(run, [&](comms::Communicator& world) {
        runtime::fail_together(world, [&] {
            arguments = launch::parse_train_arguments(argc, argv);
            if (arguments.ranks)
                throw partition::ConfigError(partition::Problem{
                    "--ranks", "is for local mode; under mpirun the number of ranks is mpirun's -np"});
            if (!arguments.answer) config = launch::load_config(arguments.config, arguments.sets, world.size());
        });
        if (!arguments.answer) return launch::train(arguments, config, world);
        if (world.rank() == 0) fmt::print("{}", *arguments.answer);
        return 0;
    });
}

/// Ranks are threads of this process.
int locally(int argc, char** argv) {
    launch::TrainArguments arguments;
    launch::Config config;
    try {
        arguments = launch::parse_train_arguments(argc, argv);
        if (!arguments.answer) {
            config = launch::load_config(arguments.config, arguments.sets, arguments.ranks);
            launch::require_few_threads(arguments.ranks.value_or(config.world()),
                                        config.cluster.threads_per_rank.value_or(1));
        }
    } catch (const std::exception& error) {
        fmt::print(stderr, "smp_train: error: {}\n", runtime::readable_message(error.what()));
        return runtime::exit_code_of(error);
    }
    if (arguments.answer) {
        fmt::print("{}", *arguments.answer);
        return 0;
    }
    const launch::RankRun run{.program = "smp_train",
                              .communicator = {},
                              .place = [&](const comms::Communicator& world) { return place_of(world, config); }};
    return launch::run_as_threads(run, arguments.ranks.value_or(config.world()),
                                  [&](comms::Communicator& world) { return launch::train(arguments, config, world); });
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGXFSZ, SIG_IGN);  // writes report files that grow beyond the user's limit
    return comms::launched_by_mpi() ? under_mpi(argc, argv) : locally(argc, argv);
}
