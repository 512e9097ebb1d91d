// From a process to ranks: threads of this process, or one rank of an mpirun. Failures become one message and an exit
// code here, and nowhere else.
#pragma once

#include <functional>
#include <string>

#include "comms/communicator.h"
#include "launch/config/config.h"

namespace smp::launch {

/// What one rank does with its world. Returns an exit code; every rank of a world returns the same. Exceptions are
/// turned into messages and exit codes by run_*.
using RankMain = std::function<int(comms::Communicator& world)>;

struct RankRun {
    std::string program;  // "smp_train": begins every error message
    comms::CommunicatorOptions communicator;
    /// "pp 1, tp 0, rdp 2", where a rank stands, for its messages; "" while that is not known.
    std::function<std::string(const comms::Communicator& world)> place = {};
};

/// Throws partition::ConfigError where `ranks` threads of this process, with so many intra-op threads each, are more
/// than a process is good for: a thousand wait for each other more than they work, and systems end the process for
/// less.
void require_few_threads(int ranks, int threads_per_rank);

/// Throws runtime::MemoryError if so many ranks of the job cannot be threads of this process together. A job that does
/// not run on them at all is for others to refuse, and memory of CUDA devices is not the host's.
void require_room_for_threads(const Config& config, int ranks);

/// For TrainerOptions::on_stuck: says why, and ends the process with 4.
std::function<void(const std::string& why)> ending_where_stuck(std::string program);

/// `ranks` threads of this process. Returns when all have ended: 0, or the exit code of the rank that failed first.
int run_as_threads(const RankRun& run, int ranks, const RankMain& body);
/// This process is one rank of an MPI job. A failure that other ranks do not know of ends the whole job.
int run_under_mpi(const RankRun& run, const RankMain& body);

/// Intra-op threads for this rank: the processors that it may use over the ranks of this host that may use the same
/// ones, at least 1. Collective.
int fair_thread_count(comms::Communicator& world);
/// Gives this rank as many intra-op threads: those that the configuration says, else the fair count. Collective.
void set_threads(const Config& config, comms::Communicator& world);

/// cluster.startup_timeout_seconds and cluster.timeout_seconds.
comms::WaitLimit startup_limit(const partition::ClusterOptions& cluster);
comms::WaitLimit limit_of_waits(const partition::ClusterOptions& cluster);

}  // namespace smp::launch
