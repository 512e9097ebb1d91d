// The side channel of ranks that are processes, over an MPI communicator of its own.
#pragma once

#include <memory>

#include "comms/backends/mpi_process.h"
#include "comms/side_channel.h"

namespace smp::comms {

/// Collective over MPI_COMM_WORLD, blocking.
std::unique_ptr<SideChannel> mpi_side_channel(const std::shared_ptr<MpiProcess>& process);

}  // namespace smp::comms
