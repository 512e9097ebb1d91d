// A slow link on a fast machine: point-to-point messages arrive as late as they would over a link of known latency and
// rate.
#pragma once

#include <chrono>
#include <limits>
#include <memory>

#include "comms/communicator.h"

namespace smp::comms {

/// From each rank to each other, in either direction.
struct Link {
    std::chrono::nanoseconds latency{0};
    double bytes_per_second = std::numeric_limits<double>::infinity();
};

/// The same group, but a receive completes no sooner than `link.latency` after the link has carried all messages of
/// that sender to that receiver up to this one, from the calls of their send() on. Sends complete as before: the link
/// takes what it is given. Waiting leaves the processor to others. Collectives move as before; splits are delayed too.
/// CPU tensors; all ranks on one machine, since sender and receiver compare clocks.
std::unique_ptr<Communicator> delayed(std::unique_ptr<Communicator> group, const Link& link);

}  // namespace smp::comms
