// The clock of the abstract machine: a queue of events in ascending order of ticks. A compute action ends, a transfer
// arrives, a link serves its next transfer; between events the machine goes on as far as it can.
#include "partition/foresight/simulator.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <stdexcept>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "partition/check/machine.h"

namespace smp::partition {
namespace {

template <typename T>
using EarliestFirst = std::priority_queue<T, std::vector<T>, std::greater<>>;

void require_duration_of_each_action(const Programs& programs, const Durations& durations) {
    if (durations.size() != programs.size()) {
        throw std::logic_error(
            fmt::format("simulator: durations of {} stages for programs of {}", durations.size(), programs.size()));
    }
    for (const StageId stage : programs.ids()) {
        if (durations[stage].size() != programs[stage].actions.size()) {
            throw std::logic_error(fmt::format("simulator: {} durations for the {} actions of stage {}",
                                               durations[stage].size(), programs[stage].actions.size(), stage));
        }
        for (const ActionId i : durations[stage].ids()) {
            const auto& [duration, latency, exchange] = durations[stage][i];
            if (duration >= 0 && latency >= 0 && exchange >= 0 && exchange <= duration) continue;
            throw std::logic_error(fmt::format("simulator: {} of stage {} has a duration below 0, or below its part",
                                               name_of(programs[stage].actions[i]), stage));
        }
    }
}

class Simulation : public Machine::Clock {
  public:
    Simulation(const Programs& programs, const Durations& durations)
        : programs_(programs),
          durations_(durations),
          machine_(programs, *this),
          stages_(programs.size()),
          transfers_(machine_.transfers().size()),
          links_(programs.size() * (programs.size() + 2)) {
        timeline_.stages.resize(programs.size());
        for (const StageId stage : programs.ids()) {
            timeline_.spans.emplace_back(programs[stage].actions.size());
            stages_[stage].events.resize(static_cast<std::size_t>(programs[stage].events));
        }
    }

    Timeline run() {
        machine_.begin();
        while (!queue_.empty()) {
            const auto [tick, happening, index] = queue_.top();
            queue_.pop();
            switch (happening) {
                case Happening::compute_ended: end_compute(StageId(index)); break;
                case Happening::arrived: arrive(TransferId(index)); break;
                case Happening::link_free: serve(LinkId(index), tick); break;
            }
        }
        require_end();
        for (StageTime& time : timeline_.stages) time.bubble = timeline_.makespan - time.compute - time.exposed;
        return std::move(timeline_);
    }

  private:
    /// In the order in which those of one tick are handled: a link chooses when all that can become ready by then has.
    enum class Happening { compute_ended, arrived, link_free };
    using QueueEntry = std::tuple<std::int64_t, Happening, int>;  // tick; what; number of stage, transfer or link
    using LinkId = Id<struct LinkKind>;

    /// An event of a program that has come.
    struct Event {
        std::int64_t tick = 0;
        std::int64_t ready = 0;  // when it was on its way, for a transfer
        Place source = {};
    };
    struct StageState {
        std::int64_t now = 0;  // when the list has come as far as it has
        Place cause = {};      // what ended then
        Table<EventId, Event> events;
    };
    struct TransferState {
        bool is_posted = false;  // at one end at least
        std::int64_t ready = 0;  // when it was posted at the last end so far
        Place cause = {};
    };
    /// From one stage to another; from a stage to itself: into its data-parallel group. Behind them two for each stage,
    /// to host memory and back.
    struct Link {
        /// Since when; its channel; which transfer.
        using Waiting = std::tuple<std::int64_t, Channel, TransferId>;
        EarliestFirst<Waiting> waiting;
        std::int64_t free_at = 0;
        Place holder = {};  // until then
        bool is_scheduled = false;
    };

    const Action& action(Place at) const { return programs_[at.stage].actions[at.position]; }
    const ActionDuration& duration_of(Place at) const { return durations_[at.stage][at.position]; }
    ActionSpan& run(Place at) { return timeline_.spans[at.stage][at.position]; }
    Place first_end(TransferId transfer) const {
        const Transfer& ends = machine_.transfers()[transfer];
        return ends.send != Place() ? ends.send : ends.receive;
    }

    LinkId link_of(const Action& a, StageId stage) const {
        const int count = static_cast<int>(stages_.size()), own = stage.number();
        if (a.stream == Stream::copy_out) return LinkId(count * count + 2 * own);
        if (a.stream == Stream::copy_in) return LinkId(count * count + 2 * own + 1);
        if (!facts_of(a.kind).is_message()) return LinkId(own * count + own);
        const Edge edge = edge_of(stage, a);
        return LinkId(edge.from.number() * count + edge.to.number());
    }

    void issued(Place here) override {
        StageState& s = stages_[here.stage];
        std::int64_t ready = s.now;
        for (const EventId wait : action(here).waits) {
            const Event& event = s.events[wait];
            ready = std::max(ready, event.ready);
            if (event.tick > s.now) std::tie(s.now, s.cause) = std::tie(event.tick, event.source);
        }
        // Up to `ready` something had not been made yet; from then on all the rest was on its way.
        timeline_.stages[here.stage].exposed += s.now - ready;
        run(here).posted = s.now;
        if (facts_of(action(here).kind).is_posted()) {
            TransferState& transfer = transfers_[machine_.transfer_of(here)];
            if (std::exchange(transfer.is_posted, true) && s.now <= transfer.ready) return;
            transfer.ready = s.now;
            transfer.cause = s.cause;
        } else if (action(here).channel == Channel::world) {
            // The last stage to come starts it on all.
            if (joined_++ % stages_.size() != 0 && s.now <= joined_from_) return;
            joined_from_ = s.now;
            joined_cause_ = s.cause;
        }
    }

    void compute(Place here) override {
        const StageState& s = stages_[here.stage];
        const bool is_joint = action(here).channel == Channel::world;
        ActionSpan& r = run(here);
        r.start = is_joint ? joined_from_ : s.now;
        r.end = r.start + duration_of(here).duration;
        r.cause = is_joint ? joined_cause_ : s.cause;
        timeline_.stages[here.stage].compute += duration_of(here).duration - duration_of(here).exchange;
        timeline_.stages[here.stage].exposed += duration_of(here).exchange;
        queue_.emplace(r.end, Happening::compute_ended, here.stage.number());
    }

    void end_compute(StageId stage) {
        StageState& s = stages_[stage];
        const Place here{stage, machine_.next(stage)};
        s.now = run(here).end;
        // What takes no time is nobody's cause: what it waited for is.
        s.cause = run(here).end > run(here).start ? here : run(here).cause;
        timeline_.makespan = std::max(timeline_.makespan, s.now);
        signal(here, s.now, here);
        machine_.end_compute(stage);
    }

    void signal(Place at, std::int64_t ready, Place source) {
        const EventId event = action(at).signals;
        if (event != kNone) stages_[at.stage].events[event] = {run(at).end, ready, source};
    }

    void transfer(TransferId transfer) override {
        const Place end = first_end(transfer);
        const LinkId link = link_of(action(end), end.stage);
        const std::int64_t ready = transfers_[transfer].ready;
        links_[link].waiting.emplace(ready, action(end).channel, transfer);
        schedule(link, ready);
    }

    void schedule(LinkId id, std::int64_t now) {
        Link& link = links_[id];
        if (link.is_scheduled || link.waiting.empty()) return;
        link.is_scheduled = true;
        queue_.emplace(std::max(now, link.free_at), Happening::link_free, id.number());
    }

    void serve(LinkId id, std::int64_t now) {
        Link& link = links_[id];
        const TransferId chosen = std::get<TransferId>(link.waiting.top());
        link.waiting.pop();
        const TransferState& transfer = transfers_[chosen];
        const auto [send, receive, is_message] = machine_.transfers()[chosen];
        const Place cause = now > transfer.ready ? link.holder : transfer.cause;
        const ActionDuration& cost = duration_of(send);
        for (const Place end : {send, receive}) {
            if (end == Place()) continue;
            ActionSpan& r = run(end);
            r.start = now;
            r.end = now + cost.duration + cost.latency;
            r.cause = cause;
        }
        link.free_at = now + cost.duration;
        link.holder = send;
        queue_.emplace(run(send).end, Happening::arrived, chosen.number());
        machine_.let_go(chosen);  // the link keeps what follows until it is free
        link.is_scheduled = false;
        schedule(id, now);
    }

    void arrive(TransferId id) {
        const auto [send, receive, is_message] = machine_.transfers()[id];
        timeline_.makespan = std::max(timeline_.makespan, run(send).end);
        for (const Place end : {send, receive}) {
            if (end != Place()) signal(end, transfers_[id].ready, send);
        }
        machine_.end_transfer(id);
    }

    void require_end() {
        for (const StageId stage : programs_.ids()) {
            if (machine_.has_ended(stage)) continue;
            const Place next{stage, machine_.next(stage)};
            throw std::logic_error(fmt::format("simulator: stage {} stops for ever at action {} ({})", stage,
                                               next.position, name_of(action(next))));
        }
        for (const TransferId transfer : machine_.transfers().ids()) {
            const auto [send, receive, is_message] = machine_.transfers()[transfer];
            if (!is_message || (send != Place() && receive != Place())) continue;
            const Place alone = first_end(transfer);
            throw std::logic_error(fmt::format("simulator: stage {} action {} ({}) meets nothing", alone.stage,
                                               alone.position, name_of(action(alone))));
        }
    }

    const Programs& programs_;
    const Durations& durations_;
    Machine machine_;
    Table<StageId, StageState> stages_;
    Table<TransferId, TransferState> transfers_;
    Table<LinkId, Link> links_;  // from·stages + to
    EarliestFirst<QueueEntry> queue_;
    std::size_t joined_ = 0;  // how often a stage has come to a collective over the world
    std::int64_t joined_from_ = 0;
    Place joined_cause_ = {};
    Timeline timeline_;
};

}  // namespace

double Timeline::bubble() const {
    std::int64_t compute = 0;
    for (const StageTime& time : stages) compute += time.compute;
    if (compute == 0) return 0;
    return static_cast<double>(static_cast<std::int64_t>(stages.size()) * makespan - compute) /
           static_cast<double>(compute);
}

Timeline simulate(const Programs& programs, const Durations& durations) {
    require_duration_of_each_action(programs, durations);
    return Simulation(programs, durations).run();
}

std::vector<Place> critical_path(const Timeline& timeline) {
    Place at;
    for (const StageId stage : timeline.spans.ids()) {
        for (const ActionId i : timeline.spans[stage].ids()) {
            if ((at == Place() || at.stage == stage) && timeline.spans[stage][i].end == timeline.makespan)
                at = {stage, i};
        }
    }
    std::vector<Place> path;
    while (at != Place()) {
        path.push_back(at);
        at = timeline.spans[at.stage][at.position].cause;
    }
    std::reverse(path.begin(), path.end());
    return path;
}

}  // namespace smp::partition
