// A slow link on a fast machine: messages arrive as late as they would over a link of known latency and rate, and
// collectives take as long.
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
    double collective_bytes_per_second = std::numeric_limits<double>::infinity();  // out of each rank
};

/// The same group, but a receive completes no sooner than `link.latency` after the link has carried all messages of
/// that sender to that receiver up to this one, from the calls of their send() on. Sends complete as before: the link
/// takes what it is given. A collective (but for broadcasts and barriers) completes no sooner than the rank's way out
/// has carried what it gives to this group's collectives up to this one: (n − 1)/n of a reduce-scatter or all-to-all of
/// n ranks, twice that of an all-reduce, n − 1 times its input of an all-gather; there is no latency. Waiting leaves
/// the processor to others. Splits are delayed too. CPU tensors; all ranks on one machine, since sender and receiver
/// compare clocks.
std::unique_ptr<Communicator> delayed(std::unique_ptr<Communicator> group, const Link& link);

}  // namespace smp::comms
