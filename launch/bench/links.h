// Latency and bandwidth between ranks.
#pragma once

#include "comms/communicator.h"
#include "launch/bench/bench_arguments.h"

namespace smp::launch {

/// Measures every pair of ranks and the collectives of all and of each host, and answers from rank 0. Returns the exit
/// code. Collective; throws partition::ConfigError for a world of one, CommunicationError.
int measure_links(const BenchArguments& arguments, bool are_threads, comms::Communicator& world);

}  // namespace smp::launch
