// Memory of the process, as the operating system counts it.
#pragma once

#include <cstdint>

#include "comms/communicator.h"

namespace smp::runtime {

/// Peak resident bytes of this process so far (ranks that are threads of one process share the figure).
std::int64_t peak_resident_bytes();
/// The largest over the world. Collective.
std::int64_t largest_resident_memory(comms::Communicator& world);

}  // namespace smp::runtime
