// A deadline for MPI's own start, which has none: a rank that never comes lets all others wait in MPI_Init for ever.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "comms/communicator.h"

namespace smp::comms {

/// What a launcher tells a process before MPI starts, in the environment.
struct LaunchedRank {
    int rank = 0;
    int size = 1;
    std::optional<int> size_here;  // ranks on this host, where that is known
    std::string job;               // the same for all of its ranks, another for other jobs
};
std::optional<LaunchedRank> launched_rank();

/// A mark that ranks of the same job on this host see, for as long as it lives: a socket with an abstract name, which
/// the kernel takes back however the process ends.
class Attendance {
  public:
    explicit Attendance(const LaunchedRank& own);
    ~Attendance();
    Attendance(const Attendance&) = delete;
    Attendance& operator=(const Attendance&) = delete;

    /// Those that have come, in order.
    std::vector<int> ranks_here() const;

  private:
    LaunchedRank own_;
    int socket_ = -1;
};

/// The sentence for a start that has taken `limit` where `here` have come to this host.
std::string late_start(const LaunchedRank& own, const std::vector<int>& here, const WaitLimit& limit);

/// While it lives, time runs. When it is over, one rank of each host where one is missing (else, a little later, of
/// each host) gets late_start() as `on_late`'s argument, the others a little later an empty text. Nothing without a
/// launcher.
class StartWatch {
  public:
    StartWatch(WaitLimit limit, std::function<void(const std::string&)> on_late);
    ~StartWatch();
    StartWatch(const StartWatch&) = delete;
    StartWatch& operator=(const StartWatch&) = delete;

  private:
    void watch(const LaunchedRank& own);
    /// Adds those that have come to this host by now: who has told of a late start is gone soon.
    void look_around(std::vector<int>& seen) const;
    /// True if the start is over before.
    bool is_over_within(std::chrono::milliseconds time);

    WaitLimit limit_;
    std::function<void(const std::string&)> on_late_;
    std::unique_ptr<Attendance> attendance_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_over_ = false;
    std::thread thread_;
};

}  // namespace smp::comms
