// Goes through a rank's program in the order of its list: waits, acts, signals, gives back. What an action does is the
// performer's; nothing here knows a tensor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "comms/communicator.h"
#include "comms/progress.h"
#include "partition/foresight/action_times.h"
#include "partition/plan/action.h"

namespace smp::runtime {

/// What is waited for.
enum class Awaited {
    message,  // of another stage, in front of an action
    other,    // likewise: a reduction, gathered parameters, a copy
    update,   // in the optimizer's step: ranks that had not come to it
    inside,   // in another action: ranks of the stage that compute it together
};

inline constexpr std::size_t kAwaited = 4;

class Performer {
  public:
    virtual ~Performer() = default;

    /// Of what kind waits are from now on.
    virtual void awaits(Awaited /*what*/) {}
    /// The list has come to the action; its waits are to come.
    virtual void reach(const partition::Action& /*action*/) {}
    /// All that the action waits for has come. A compute action is done on return, a posted one when the Work is
    /// complete. `on_copied`, if it is not empty, is called when a copy to or from host memory has ended, by whatever
    /// thread.
    virtual comms::Work perform(const partition::Action& action, const std::function<void()>& on_copied) = 0;
    /// Calls `note` when what was performed so far is done: at once, or, where a device does it later, by whatever
    /// thread.
    virtual void when_done(const std::function<void()>& note) { note(); }
    /// What an action frees: a posted one's when somebody has waited for it, not when it happens to end, so that memory
    /// is what the plan says in any timing.
    virtual void free(partition::BufferId buffer) = 0;
};

/// What a rank's list took, and for how much of that it stood still, in nanoseconds of the rank's thread or of its
/// device.
struct IssueTime {
    std::int64_t all = 0;                                // from the first action to the end of the last
    std::array<std::int64_t, kAwaited> waited_for = {};  // by what was awaited

    std::int64_t& waited(Awaited what) { return waited_for[static_cast<std::size_t>(what)]; }
    std::int64_t waited(Awaited what) const { return waited_for[static_cast<std::size_t>(what)]; }
};

/// Throws std::logic_error, which names the action.
[[noreturn]] void refuse(const partition::Action& action, const std::string& what);

/// By the rank's thread: where a device stands still instead, the time is the performer's to know. `progress`: of the
/// rank, moved on behind each action (Progress::step_due). `times`, where it is not null, gets one entry an action.
/// Throws what waits and the performer throw, and refuses an action that waits for what is to come, signals what has
/// been signalled, or is posted and waited for by nobody; what is in flight then stays so.
IssueTime issue(const partition::RankProgram& program, Performer& performer, comms::Progress& progress,
                const std::shared_ptr<partition::ActionTimes>& times = nullptr);

}  // namespace smp::runtime
