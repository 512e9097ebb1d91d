// What lies between the ranks of a world, and which of it is slow.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/bench/report.h"

namespace smp::launch {

/// Between two ranks, one way: half of a round trip.
struct LinkTimes {
    int first = 0, second = 0;   // ranks
    double latency_seconds = 0;  // of 8 bytes
    double seconds = 0;          // of a large message
};

/// Of all ranks, or of those of one host.
struct CollectiveTimes {
    std::string name;
    std::string place;             // "all 8 ranks", "node1, 2 ranks"
    double latency_seconds = 0;    // of 8 bytes a rank
    double seconds = 0;            // of a large tensor
    std::int64_t moved_bytes = 0;  // then, in and out of each rank, as a ring does
};

struct LinksFacts {
    std::string program;             // "smp_bench 0.1.0"
    bool are_threads = true;         // ranks are; else processes
    std::vector<std::string> hosts;  // of each rank
    std::int64_t bytes = 0;          // of a large message or tensor
    int repeats = 0;
};

/// The pair with the largest latency and the one with the least bandwidth are named, and where there are three hosts
/// or more the host whose ways to the others are slowest in their median, by either.
Report links_report(const LinksFacts& facts, const std::vector<LinkTimes>& pairs,
                    const std::vector<CollectiveTimes>& collectives);

}  // namespace smp::launch
