#include <cstdlib>

#include "comms/communicator.h"

namespace smp::comms {

bool launched_by_mpi() {
    // Open MPI's mpirun; PMIx and PMI, which srun and other launchers speak.
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"})
        if (std::getenv(name) != nullptr) return true;
    return false;
}

}  // namespace smp::comms
