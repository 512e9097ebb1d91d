// Where a rank really is: host, process, the processors that it may use; and what of that makes a job slow.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/machine/kernel_files.h"

namespace smp::runtime {

struct RankPlace {
    int rank = 0;
    std::string host;
    std::int64_t process = 0;
    std::string device;                // "cpu"
    std::string coordinate;            // "pp 1, tp 0, rdp 2"
    std::vector<int> cores = {};       // that it may use, ascending; empty: not known
    int host_cores = 1;                // of its host
    int threads = 1;                   // that it computes with
    std::optional<double> quota = {};  // of processors' time, by its control group
    std::string openmp = {};           // openmp_binding()

    bool operator==(const RankPlace&) const = default;
};

/// Where the calling thread is, which is that of a rank; host, coordinate, device and threads are the caller's.
RankPlace place_here(RankPlace known, const KernelFiles& files = {});

/// As a text that goes to other ranks, and back. Throws std::logic_error for what is no such text.
std::string to_text(const RankPlace& place);
RankPlace place_of_text(const std::string& text);

/// "rank 3 on node1: process 4711, device cpu, cores 0-3 of 8, 2 threads, pp 1, tp 1, rdp 0".
std::string described(const RankPlace& place);

/// The ranks of one host, in order.
struct Node {
    std::string host;
    std::vector<RankPlace> ranks;
};
/// In the order of their first ranks.
std::vector<Node> nodes_of(std::span<const RankPlace> places);

/// "node node1: ranks 0-3 in 4 processes, cores 0-7 of 8, 8 threads".
std::string described(const Node& node);

/// Sentences for a person, at most one of each kind a host: ranks whose binding leaves them fewer processors than they
/// compute with threads, alone or together, while others of the host are free of them; OpenMP that places several ranks
/// on the same processors; a control group's limit on time below the threads. More ranks than a machine has processors
/// are no fault where nothing binds them: whoever starts them asks for it.
std::vector<std::string> what_slows(std::span<const RankPlace> places);

}  // namespace smp::runtime
