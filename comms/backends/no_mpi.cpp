#include "comms/communicator.h"

namespace smp::comms {

std::unique_ptr<Communicator> mpi_world(const CommunicatorOptions&) {
    throw CommunicationError(
        "this program was built without MPI, so its ranks cannot be processes; run it without mpirun (ranks as "
        "threads), or build with "
        "-DSMP_MPI=ON where Open MPI is installed (./launch/setup installs it)");
}

}  // namespace smp::comms
