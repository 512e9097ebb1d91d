#include "launch/train/launcher.h"

#include <array>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

#include "comms/communicator.h"
#include "comms/this_process.h"

namespace smp::launch {

namespace {

struct Variables {
    const char *size, *rank;
};

// Nearest first: a launcher may be started inside an allocation or a shell of one further down. Slurm's are those of a
// step (srun): a batch script or an allocation's shell has others, and is no rank.
constexpr std::array<Variables, 4> kLaunchers = {{{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                                                  {"PMI_SIZE", "PMI_RANK"},
                                                  {"WORLD_SIZE", "RANK"},
                                                  {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}}};

}  // namespace

Launcher launcher_of(int argc, const char* const* argv) {
    constexpr std::string_view kOption = "--launcher";
    Launcher launcher = Launcher::automatic;
    for (int i = 1; i < argc; ++i) {
        std::string_view word = argv[i];
        if (!word.starts_with(kOption)) continue;
        word.remove_prefix(kOption.size());
        if (word.empty() && i + 1 < argc)
            word = argv[++i];
        else if (word.starts_with('='))
            word.remove_prefix(1);
        launcher = word == "mpi" ? Launcher::mpi : word == "none" ? Launcher::none : Launcher::automatic;
    }
    return launcher;
}

bool is_under_mpi(Launcher launcher) {
    return launcher == Launcher::mpi || (launcher == Launcher::automatic && comms::launched_by_mpi());
}

void forget_launcher() {
    for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) ::unsetenv(variable);
}

std::optional<StatedWorld> stated_world() {
    for (const Variables& names : kLaunchers) {
        const auto size = comms::number_in_environment(names.size), rank = comms::number_in_environment(names.rank);
        if (size && rank)
            return StatedWorld{fmt::format("{}={} and {}={}", names.size, *size, names.rank, *rank), *size, *rank};
    }
    return std::nullopt;
}

std::optional<std::string> contradiction(const std::optional<StatedWorld>& stated, std::optional<int> mpi_ranks) {
    if (!stated || stated->size <= 1 || mpi_ranks == stated->size) return std::nullopt;
    const std::string found =
        mpi_ranks ? fmt::format("this program's MPI finds {} rank{}", *mpi_ranks, *mpi_ranks == 1 ? "" : "s")
                  : "that launcher is none of this program's MPI, and each process would train for itself";
    return fmt::format(
        "launcher: the environment states a world of {} processes ({}), but {}; start it by the mpirun of the MPI that "
        "smp_train --version names, in Slurm by srun --mpi=pmix (launch/cluster/slurm), or add --launcher none to "
        "train with ranks as threads of this process.",
        stated->size, stated->variables, found);
}

}  // namespace smp::launch
