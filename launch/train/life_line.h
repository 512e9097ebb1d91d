// By which a process of a job that dies without a word is noticed: the launcher then ends all others, and says who was
// first on its own standard error alone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comms/communicator.h"
#include "runtime/machine/rank_place.h"

namespace smp::launch {

/// A TCP connection from each other process of the job to rank 0's, for as long as this lives. One that ends before its
/// owner has taken leave is a process that is gone: rank 0 hears of all others, and the first rank of another host
/// (where there is none, the last rank) of rank 0. A host that fails as a whole is noticed within half a minute. A rank
/// that fails with an exception says so itself: nobody is missed from then on. Ranks that are threads of one process
/// need none of this and have no connections, and nor has a rank that finds no way to rank 0 within some seconds.
class LifeLine {
  public:
    /// Collective, blocking. `lost` is called at most once, on a thread of its own, with a sentence that names rank,
    /// host and process.
    LifeLine(comms::Communicator& world, const std::vector<runtime::RankPlace>& places,
             std::function<void(const std::string&)> lost);
    /// Takes leave. Local.
    ~LifeLine();
    /// Takes leave as a rank that fails does, for one that may not come as far as the end of this. From any thread.
    void fail() noexcept;
    LifeLine(const LifeLine&) = delete;
    LifeLine& operator=(const LifeLine&) = delete;

  private:
    class End;
    class Center;
    class Spoke;
    std::unique_ptr<End> end_;  // null: none is needed
};

}  // namespace smp::launch
