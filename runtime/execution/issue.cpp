#include "runtime/execution/issue.h"

#include <chrono>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "runtime/execution/timed_work.h"

namespace smp::runtime {

using partition::Action;
using partition::EventId;
using partition::kNone;

void refuse(const Action& action, const std::string& what) {
    throw std::logic_error(fmt::format("executor: {} {}", partition::name_of(action), what));
}

namespace {

std::int64_t since(comms::Clock::duration before, const comms::Progress& progress) {
    return std::chrono::nanoseconds(progress.waited() - before).count();
}

bool is_posted(const Action& action) { return partition::facts_of(action.kind).is_posted(); }

class Events {
  public:
    Events(int count, Performer& performer, const comms::Progress& progress, IssueTime& time)
        : events_(static_cast<std::size_t>(count)), performer_(performer), progress_(progress), time_(time) {}

    void wait(const Action& action, EventId index) {
        Event& event = events_[index];
        if (event.signalled_by == nullptr) refuse(action, fmt::format("waits for event {}, which is to come", index));
        const Awaited what =
            event.signalled_by->kind == partition::ActionKind::receive ? Awaited::message : Awaited::other;
        performer_.awaits(what);
        const comms::Clock::duration before = progress_.waited();
        event.work.join();
        time_.waited(what) += since(before, progress_);
        if (!std::exchange(event.was_waited_for, true) && is_posted(*event.signalled_by)) free_all(*event.signalled_by);
    }
    void signal(const Action& action, comms::Work work) {
        if (action.signals == kNone) {
            if (is_posted(action)) refuse(action, "is waited for by nobody");
            return;
        }
        Event& event = events_[action.signals];
        if (event.signalled_by != nullptr)
            refuse(action, fmt::format("signals event {}, which {} has signalled", action.signals,
                                       partition::name_of(*event.signalled_by)));
        event.signalled_by = &action;
        event.work = std::move(work);
    }
    void free_all(const Action& action) {
        for (const partition::BufferId buffer : action.frees) performer_.free(buffer);
    }
    void require_everything_waited_for() const {
        for (const Event& event : events_)
            if (event.signalled_by != nullptr && is_posted(*event.signalled_by) && !event.was_waited_for)
                refuse(*event.signalled_by, "is waited for by nobody");
    }

  private:
    struct Event {
        const Action* signalled_by = nullptr;
        comms::Work work;  // complete for compute actions
        bool was_waited_for = false;
    };

    partition::Table<EventId, Event> events_;
    Performer& performer_;
    const comms::Progress& progress_;
    IssueTime& time_;
};

}  // namespace

IssueTime issue(const partition::RankProgram& program, Performer& performer, comms::Progress& progress,
                const std::shared_ptr<partition::ActionTimes>& times) {
    const std::int64_t begin = steady_nanoseconds();
    IssueTime time;
    Events events(program.events, performer, progress, time);
    const auto& actions = program.actions;
    if (times) times->assign(actions.size(), {});
    for (const partition::ActionId position : actions.ids()) {
        const Action& action = actions[position];
        performer.reach(action);
        if (times) performer.when_done([times, position] { (*times)[position].reached = steady_nanoseconds(); });
        for (const EventId event : action.waits) events.wait(action, event);
        if (times) performer.when_done([times, position] { (*times)[position].start = steady_nanoseconds(); });
        std::function<void()> ended;
        if (times) ended = [times, position] { (*times)[position].end = steady_nanoseconds(); };
        const Awaited what = action.kind == partition::ActionKind::optimizer_step ? Awaited::update : Awaited::inside;
        performer.awaits(what);
        const comms::Clock::duration before = progress.waited();
        comms::Work work = performer.perform(action, ended);
        time.waited(what) += since(before, progress);
        if (times && !partition::facts_of(action.kind).is_copy()) {  // of which the copying thread knows best
            if (auto operation = work.release())
                work = timed(std::move(operation), progress, ended);
            else
                performer.when_done(ended);
        }
        events.signal(action, std::move(work));
        if (!is_posted(action)) events.free_all(action);
        progress.step_due();
    }
    events.require_everything_waited_for();
    time.all = steady_nanoseconds() - begin;
    return time;
}

}  // namespace smp::runtime
