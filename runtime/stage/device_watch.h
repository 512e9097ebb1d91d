// Watches over a rank on a CUDA device from a thread of its own. The rank's thread hears of failures where it looks for
// them; inside a call of CUDA, which waits where a launch queue is full or memory is given back, it looks for nothing.
#pragma once

#include <chrono>
#include <condition_variable>
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
        std::function<std::string()> doing;  // what the rank is at; called from the watch's thread
        /// Called from the watch's thread, with a sentence, where the rank does not come back though its communicators
        /// have been given up: it must end the process, since nothing brings the call back. Empty: the rank stays
        /// there.
        std::function<void(const std::string&)> on_stuck;
    };

    /// `groups` must outlive it.
    DeviceWatch(const RankGroups& groups, Options options);
    ~DeviceWatch();
    DeviceWatch(const DeviceWatch&) = delete;
    DeviceWatch& operator=(const DeviceWatch&) = delete;

    /// While it lives the rank is at work, and watched. They do not nest.
    class Scope {
      public:
        explicit Scope(DeviceWatch* watch);  // null: nothing is watched
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
    /// Ends what the rank's device waits for, once: the call that holds the rank up comes back.
    void give_up(const std::string& why);

    const RankGroups& groups_;
    const Options options_;
    const int rank_;
    std::string given_up_for_;  // why; empty: not yet
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_at_work_ = false, stops_ = false;
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace smp::runtime
