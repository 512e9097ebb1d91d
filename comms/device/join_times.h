// How long a CUDA rank's compute stood still where it was put behind other streams (Work::join): what waiting is on the
// CPU, where the rank's thread stands still itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "comms/device/rank_device.h"

namespace smp::comms {

/// Of one rank, for its thread. Around each join of a run it records two events in the stream that is joined to, and
/// the host reads them when the run has ended: no call waits. A join of what has ended counts too, as the few
/// microseconds that two events take.
class JoinTimes {
  public:
    struct Options {
        std::size_t kinds = 1;     // that joins are told apart by
        std::size_t expected = 0;  // joins in a run; more of them make events in the first run that has them
        std::size_t most = 4096;   // of a run, since each costs the host some microseconds: one with more has no times
    };

    /// `device`: on CUDA, and there for as long as this is. Throws CommunicationError.
    JoinTimes(const RankDevice& device, const Options& options);
    ~JoinTimes();
    JoinTimes(const JoinTimes&) = delete;
    JoinTimes& operator=(const JoinTimes&) = delete;

    /// While it lives, the calling thread's joins are timed. The run begins where compute is now.
    class Run {
      public:
        explicit Run(JoinTimes& times);
        ~Run();
        Run(const Run&) = delete;
        Run& operator=(const Run&) = delete;

        /// Of the joins from now on, from 0.
        void set_kind(int kind);
        /// The run ends where compute is now.
        void end();

      private:
        JoinTimes& times_;
    };

    /// Nanoseconds of the device.
    struct Durations {
        std::int64_t all = 0;             // from the run's beginning to its end
        std::vector<std::int64_t> joins;  // by kind
    };
    /// Of the last run, once the device has come behind its end; none where it had too many joins.
    std::optional<Durations> durations() const;

    /// Around a join of the calling thread's: nothing where no run of its own is timed.
    static void before_join();
    static void after_join();

    struct Events;

  private:
    std::unique_ptr<Events> events_;
};

}  // namespace smp::comms
