// From a process to ranks: threads of this process, or one rank of an mpirun. Failures become one message and an exit
// code here, and nowhere else.
#pragma once

#include <exception>
#include <functional>
#include <string>

#include "comms/communicator.h"
#include "launch/config/config.h"

namespace smp::launch {

/// Does with a rank's failure what run_* do with an exception, for one that may be held up on its way here: tells of
/// it, where no other was told of, and ends the other ranks. From any thread; throws nothing. Does not return where
/// ranks are processes, but for what a peer has told.
using TellFailure = std::function<void(const std::exception& error)>;

/// What one rank does with its world. Returns an exit code; every rank of a world returns the same. Exceptions are
/// turned into messages and exit codes by run_*.
using RankMain = std::function<int(comms::Communicator& world, const TellFailure& tell)>;

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

/// For the one rank of a program that has no others: tells, and ends the process.
TellFailure ending_this_process(std::string program);

/// `ranks` threads of this process. Returns when all have ended: 0, or the exit code of the rank that failed first. A
/// rank that has not come back five seconds after a failure was told is held up by what nothing interrupts, a call of
/// CUDA or of the system: then the process ends with that code, and the log names the rank.
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
