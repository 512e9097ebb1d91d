// The side channel of ranks that are threads: a box of notes for each, and its bell.
#pragma once

#include <memory>

#include "comms/backends/local_exchange.h"
#include "comms/side_channel.h"

namespace smp::comms {

std::unique_ptr<SideChannel> local_side_channel(std::shared_ptr<Exchange> exchange, int rank);

}  // namespace smp::comms
