// Collectives of one group, one after another: posted in the order of the plan, begun when there is room.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comms/communicator.h"

namespace smp::runtime {

/// No more than partition::kDataCollectivesAtOnce are under way. All begin in one order, which is the same on every
/// rank however differently they advance, and end when they end.
///
/// Collective: the same ones in the same order on all ranks, and nothing else on the group before all that was added is
/// complete.
class CollectiveLane {
  public:
    /// `group` must outlive it.
    explicit CollectiveLane(comms::Communicator& group);
    ~CollectiveLane();
    CollectiveLane(const CollectiveLane&) = delete;
    CollectiveLane& operator=(const CollectiveLane&) = delete;

    /// Asynchronous, moved on by progress(). `begin` starts the collective, on some later call on the group's ranks;
    /// `what` is its name in the message of a time-out.
    comms::Work add(std::string what, std::function<comms::Work()> begin);

  private:
    class Queue;
    class QueuedOperation;

    comms::Communicator& group_;
    std::shared_ptr<Queue> queue_;
};

}  // namespace smp::runtime
