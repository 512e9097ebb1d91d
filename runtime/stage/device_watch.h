// Watches over a rank on a CUDA device from a thread of its own. The rank's thread hears of failures where it looks for
// them; inside a call of CUDA, which waits where a launch queue is full or memory is given back, it looks for nothing.
// The watch tells of such a call, then ends what the rank's device waits for: as a rule the call then comes back.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/stage/rank_groups.h"

namespace smp::runtime {

class DeviceWatch {
  public:
    struct Options {
        std::chrono::milliseconds limit;     // how long the rank may not look while it is at work
        std::string limit_key;               // what sets it
        std::function<std::string()> doing;  // where in its work the rank is; called from the watch's thread
        /// Called from the watch's thread with a CommunicationError where the limit is over, ahead of all else that is
        /// done about it: it tells of the failure and aborts the world, after which it may not return. Empty: the world
        /// is aborted without a word.
        std::function<void(const std::exception&)> on_failure;
    };

    /// `groups` must outlive it.
    DeviceWatch(const RankGroups& groups, Options options);
    ~DeviceWatch();
    DeviceWatch(const DeviceWatch&) = delete;
    DeviceWatch& operator=(const DeviceWatch&) = delete;

    /// While it lives the rank is at work on `what` ("step 12"), and watched. They do not nest.
    class Scope {
      public:
        Scope(DeviceWatch* watch, std::string what);  // null: nothing is watched
        ~Scope();
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        DeviceWatch* watch_;
    };

  private:
    using Clock = std::chrono::steady_clock;

    void run();
    std::uint64_t looks() const;
    /// The rank has looked for nothing for longer than it may. `what` it is at work on.
    void fail(const std::string& what) const;

    const RankGroups& groups_;
    const Options options_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_at_work_ = false, stops_ = false;
    std::string what_;    // it is at work on
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace smp::runtime
