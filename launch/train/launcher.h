// Who has started this process: nobody in particular, or something that makes a world of several.
#pragma once

#include <optional>
#include <string>

namespace smp::launch {

/// --launcher: what makes this process a rank. `automatic`: MPI where the environment says so (comms::launched_by_mpi).
enum class Launcher { automatic, mpi, none };

/// The value of --launcher on a command line, which is wanted before MPI starts and so before the line is read as a
/// whole. What is no such value is `automatic` here, and refused there.
Launcher launcher_of(int argc, const char* const* argv);

/// Whether this process is to be a rank of an MPI job.
bool is_under_mpi(Launcher launcher);

/// For Launcher::none: from now on this process has been started by nobody (comms::launched_by_mpi).
void forget_launcher();

/// What a launcher's variables say of this process.
struct StatedWorld {
    std::string variables;  // "PMI_SIZE=4 and PMI_RANK=0"
    int size = 1;
    int rank = 0;
};

/// By the launcher that is nearest to this process: Open MPI's mpirun, another MPI's (PMI), torchrun, a step of srun.
std::optional<StatedWorld> stated_world();

/// Why the ranks that were made are not those of `stated`: each process would train for itself, all of them in one
/// output folder. `mpi_ranks`: the size of MPI's world; none: local mode. None where they agree, or nothing is stated.
std::optional<std::string> contradiction(const std::optional<StatedWorld>& stated, std::optional<int> mpi_ranks);

}  // namespace smp::launch
