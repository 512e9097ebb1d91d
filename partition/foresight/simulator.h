// Runs the programs of a plan against durations: when each action starts and ends, what waits for what. It is the
// machine of the proof (partition/check/machine.h) with a clock.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "partition/foresight/durations.h"
#include "partition/plan/action.h"

namespace smp::partition {

/// One action as it ran, in ticks from the start of the step. A transfer (message, collective over the data-parallel
/// group, or copy to or from host memory) is `posted` when its list reaches it, starts when both sides have posted it
/// and the link is free, and ends when it has arrived; both ends of a message have the same start and end. A link
/// serves messages in the order in which they become ready; those of one tick by channel, then in the order of posting.
/// A compute action starts when posted; a collective over the world when all have come.
struct ActionSpan {
    std::int64_t posted = 0;
    std::int64_t start = 0;
    std::int64_t end = 0;
    /// What its start waited for last: an action, of the same stage or another one, that ended or let go of its link
    /// then. A message stands there as its send, which has the duration. Nowhere if it could start at 0.
    Place cause = {};

    bool operator==(const ActionSpan&) const = default;
};

/// Time of one stage's compute stream, in ticks. compute + exposed + bubble = Timeline::makespan.
struct StageTime {
    std::int64_t compute = 0;  // forwards, backwards, sums, optimizer
    /// Stood still while all it waited for was on its way: posted by both sides, in a link or queueing for it; or in a
    /// collective over the tensor group.
    std::int64_t exposed = 0;
    /// Stood still otherwise: something it needed had not been made yet, another stage had not come to a collective
    /// over the world, or the step was over for it.
    std::int64_t bubble = 0;

    bool operator==(const StageTime&) const = default;
};

struct Timeline {
    Table<StageId, Table<ActionId, ActionSpan>> spans;
    Table<StageId, StageTime> stages;
    /// Ends the last action.
    std::int64_t makespan = 0;

    /// Σ over stages of (makespan − compute) / Σ compute: idle over ideal time.
    double bubble() const;
};

/// Deterministic, in integers. `programs` must pass the checker; throws std::logic_error where they stop before their
/// end. `durations` has one entry an action, none below 0; std::logic_error otherwise. O(n log n) in the actions.
Timeline simulate(const Programs& programs, const Durations& durations);

/// The chain of actions, first to last, each of which started when the one before had ended (or let go of its link), up
/// to the last action of the step: to make the step shorter, shorten one of these.
std::vector<Place> critical_path(const Timeline& timeline);

}  // namespace smp::partition
