// What the ranks' tensors took, on rank 0.
#pragma once

#include <vector>

#include "comms/communicator.h"
#include "partition/foresight/memory_use.h"

namespace smp::runtime {

/// `own` of each rank, by rank, on every rank. Collective, blocking.
std::vector<partition::MemoryUse> memory_of_ranks(comms::Communicator& world, const partition::MemoryUse& own);

}  // namespace smp::runtime
