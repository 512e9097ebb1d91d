// A queue of events in ascending order of ticks: a compute action ends, a transfer arrives, a link serves its next
// transfer. Between events each stage issues its list as far as it can.
#include "partition/foresight/simulator.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <stdexcept>
#include <tuple>

#include <fmt/format.h>

#include "partition/foresight/live_bytes.h"

namespace smp::partition {
namespace {

constexpr Place kNowhere{};
constexpr std::size_t kChannels = static_cast<std::size_t>(Channel::world) + 1;

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
            if (durations[stage][i].duration >= 0 && durations[stage][i].latency >= 0) continue;
            throw std::logic_error(fmt::format("simulator: {} of stage {} has a duration below 0",
                                               name_of(programs[stage].actions[i]), stage));
        }
    }
}

class Simulation {
  public:
    Simulation(const Programs& programs, const Durations& durations)
        : programs_(programs),
          durations_(durations),
          stages_(programs.size()),
          links_(programs.size() * (programs.size() + 2)) {
        timeline_.stages.resize(programs.size());
        for (const StageId stage : programs.ids()) {
            timeline_.spans.emplace_back(programs[stage].actions.size());
            transfer_of_.emplace_back(programs[stage].actions.size(), -1);
            stages_[stage].events.resize(static_cast<std::size_t>(programs[stage].events));
        }
        pair_transfers();
    }

    Timeline run() {
        for (const StageId stage : stages_.ids()) advance(stage);
        while (!queue_.empty()) {
            const auto [tick, happening, index] = queue_.top();
            queue_.pop();
            switch (happening) {
                case Happening::compute_ended: end_compute(StageId(index)); break;
                case Happening::arrived: arrive(transfers_[index]); break;
                case Happening::link_free: serve(links_[index], index, tick); break;
            }
        }
        require_end();
        for (StageTime& time : timeline_.stages) time.bubble = timeline_.makespan - time.compute - time.exposed;
        return std::move(timeline_);
    }

  private:
    /// In the order in which those of one tick are handled: a link chooses when all that can become ready by then has.
    enum class Happening { compute_ended, arrived, link_free };
    using QueueEntry = std::tuple<std::int64_t, Happening, int>;  // tick; what; index of stage, transfer or link

    /// An event of a program, once it has come.
    struct Event {
        bool has_come = false;
        std::int64_t tick = 0;
        std::int64_t ready = 0;  // when it was on its way, for a transfer
        Place source = kNowhere;
    };

    struct StageState {
        ActionId next{0};            // position of the action that is issued next, or that computes
        bool is_busy = false;        // computing, or waiting for the other stages
        std::int64_t now = 0;        // when the list has come as far as it has
        Place cause = kNowhere;      // what ended then
        std::size_t waits_over = 0;  // how many of the next action's waits have ended …
        std::int64_t ready = 0;      // … and when the last of these was on its way
        Table<EventId, Event> events;
    };

    /// A message; or a collective over the data-parallel group or a copy, which have a send side only.
    struct Transfer {
        Place send = kNowhere, receive = kNowhere;
        int link = 0;
        Channel channel = Channel::none;
        int sides_posted = 0;
        std::int64_t ready = 0;
        Place cause = kNowhere;
    };

    /// From one stage to another; from a stage to itself: into its data-parallel group. Behind them two for each stage,
    /// to host memory and back.
    struct Link {
        /// Since when; its channel; which transfer, where numbers ascend along a pair and channel.
        using Waiting = std::tuple<std::int64_t, Channel, int>;
        EarliestFirst<Waiting> waiting;
        std::int64_t free_at = 0;
        Place holder = kNowhere;  // until then
        bool is_scheduled = false;
    };

    StageState& stage(StageId index) { return stages_[index]; }
    const RankProgram& program(StageId stage) const { return programs_[stage]; }
    const Action& action(Place at) const { return program(at.stage).actions[at.position]; }
    const ActionDuration& duration_of(Place at) const { return durations_[at.stage][at.position]; }
    ActionSpan& run(Place at) { return timeline_.spans[at.stage][at.position]; }
    int& transfer_of(Place at) { return transfer_of_[at.stage][at.position]; }

    int link_of(const Action& a, StageId at) const {
        const int count = static_cast<int>(stages_.size()), stage = at.number();
        if (a.stream == Stream::copy_out) return count * count + 2 * stage;
        if (a.stream == Stream::copy_in) return count * count + 2 * stage + 1;
        const int from = a.kind == ActionKind::receive ? a.peer.number() : stage;
        const int to = a.kind == ActionKind::send ? a.peer.number() : stage;
        return from * count + to;
    }

    static bool is_message(const Action& a) { return a.kind == ActionKind::send || a.kind == ActionKind::receive; }

    /// The n-th send of a pair and channel meets the n-th receive.
    void pair_transfers() {
        struct Pairing {
            std::vector<int> transfers;
            std::size_t sends = 0, receives = 0;
        };
        std::vector<Pairing> pairings(links_.size() * kChannels);
        for (const StageId s : stages_.ids()) {
            for (const ActionId i : program(s).actions.ids()) {
                const Action& a = action({s, i});
                if (a.stream == Stream::compute) continue;
                const bool is_receive = a.kind == ActionKind::receive;
                const int link = link_of(a, s);
                Pairing& pairing =
                    pairings[static_cast<std::size_t>(link) * kChannels + static_cast<std::size_t>(a.channel)];
                std::size_t& met = is_receive ? pairing.receives : pairing.sends;
                if (met == pairing.transfers.size()) {
                    pairing.transfers.push_back(static_cast<int>(transfers_.size()));
                    transfers_.push_back({.link = link, .channel = a.channel});
                }
                const int transfer = pairing.transfers[met++];
                (is_receive ? transfers_[transfer].receive : transfers_[transfer].send) = {s, i};
                transfer_of({s, i}) = transfer;
            }
        }
    }

    /// Issues a stage's list up to the next action that it has to wait for or that computes.
    void advance(StageId index) {
        StageState& s = stage(index);
        while (s.next < program(index).actions.end_id() && waits_are_over(index)) {
            const Place here{index, s.next};
            run(here).posted = s.now;
            if (action(here).stream != Stream::compute) {
                post(here);
                ++s.next;
                continue;
            }
            s.is_busy = true;
            if (action(here).channel == Channel::world) {
                join(here);
            } else {
                start_compute(here, s.now, s.cause);
            }
            return;
        }
    }

    bool waits_are_over(StageId index) {
        StageState& s = stage(index);
        const std::vector<EventId>& waits = action({index, s.next}).waits;
        if (s.waits_over == 0) s.ready = s.now;
        for (; s.waits_over < waits.size(); ++s.waits_over) {
            const Event& event = s.events[waits[s.waits_over]];
            if (!event.has_come) return false;
            s.ready = std::max(s.ready, event.ready);
            if (event.tick > s.now) std::tie(s.now, s.cause) = std::tie(event.tick, event.source);
        }
        // Up to s.ready something had not been made yet; from then on all the rest was on its way.
        timeline_.stages[index].exposed += s.now - s.ready;
        s.waits_over = 0;
        return true;
    }

    void signal(Place at, std::int64_t ready, Place source) {
        const EventId event = action(at).signals;
        if (event != kNone) stage(at.stage).events[event] = {true, run(at).end, ready, source};
    }

    void start_compute(Place at, std::int64_t start, Place cause) {
        ActionSpan& r = run(at);
        r.start = start;
        r.end = start + duration_of(at).duration;
        r.cause = cause;
        timeline_.stages[at.stage].compute += duration_of(at).duration;
        queue_.emplace(r.end, Happening::compute_ended, at.stage.number());
    }

    void end_compute(StageId index) {
        StageState& s = stage(index);
        const Place here{index, s.next};
        s.now = run(here).end;
        // What takes no time is nobody's cause: what it waited for is.
        s.cause = run(here).end > run(here).start ? here : run(here).cause;
        timeline_.makespan = std::max(timeline_.makespan, s.now);
        signal(here, s.now, here);
        s.is_busy = false;
        ++s.next;
        advance(index);
    }

    /// A collective over the world: the last stage to come starts it on all.
    void join(Place here) {
        const StageState& s = stage(here.stage);
        if (joined_++ == 0 || s.now > joined_from_) {
            joined_from_ = s.now;
            joined_cause_ = s.cause;
        }
        if (joined_ < static_cast<int>(stages_.size())) return;
        joined_ = 0;
        for (const StageId index : stages_.ids())
            start_compute({index, stage(index).next}, joined_from_, joined_cause_);
    }

    void post(Place here) {
        const StageState& s = stage(here.stage);
        Transfer& transfer = transfers_[static_cast<std::size_t>(transfer_of(here))];
        if (transfer.sides_posted++ == 0 || s.now > transfer.ready) {
            transfer.ready = s.now;
            transfer.cause = s.cause;
        }
        if (transfer.sides_posted < (is_message(action(here)) ? 2 : 1)) return;
        Link& link = links_[transfer.link];
        link.waiting.emplace(transfer.ready, transfer.channel, transfer_of(here));
        schedule(link, transfer.link, transfer.ready);
    }

    void schedule(Link& link, int index, std::int64_t now) {
        if (link.is_scheduled || link.waiting.empty()) return;
        link.is_scheduled = true;
        queue_.emplace(std::max(now, link.free_at), Happening::link_free, index);
    }

    void serve(Link& link, int index, std::int64_t now) {
        const int chosen = std::get<int>(link.waiting.top());
        link.waiting.pop();
        Transfer& transfer = transfers_[chosen];
        const Place cause = now > transfer.ready ? link.holder : transfer.cause;
        const ActionDuration& cost = duration_of(transfer.send);
        for (const Place side : {transfer.send, transfer.receive}) {
            if (side == kNowhere) continue;
            ActionSpan& r = run(side);
            r.start = now;
            r.end = now + cost.duration + cost.latency;
            r.cause = cause;
        }
        link.free_at = now + cost.duration;
        link.holder = transfer.send;
        link.is_scheduled = false;
        schedule(link, index, now);
        queue_.emplace(run(transfer.send).end, Happening::arrived, chosen);
    }

    void arrive(const Transfer& transfer) {
        timeline_.makespan = std::max(timeline_.makespan, run(transfer.send).end);
        for (const Place side : {transfer.send, transfer.receive}) {
            if (side == kNowhere) continue;
            signal(side, transfer.ready, transfer.send);
            if (!stage(side.stage).is_busy) advance(side.stage);
        }
    }

    void require_end() {
        for (const StageId index : stages_.ids()) {
            const ActionId next = stage(index).next;
            if (next == program(index).actions.end_id()) continue;
            throw std::logic_error(fmt::format("simulator: stage {} stops for ever at action {} ({})", index, next,
                                               name_of(action({index, next}))));
        }
        for (const Transfer& transfer : transfers_) {
            const Place left_over = transfer.send == kNowhere ? transfer.receive : transfer.send;
            if (transfer.sides_posted == 2 || !is_message(action(left_over))) continue;
            throw std::logic_error(fmt::format("simulator: stage {} action {} ({}) meets nothing", left_over.stage,
                                               left_over.position, name_of(action(left_over))));
        }
    }

    const Programs& programs_;
    const Durations& durations_;
    Table<StageId, StageState> stages_;
    std::vector<Link> links_;  // from·stages + to
    std::vector<Transfer> transfers_;
    Table<StageId, Table<ActionId, int>> transfer_of_;
    EarliestFirst<QueueEntry> queue_;
    int joined_ = 0;  // stages that have come to the collective over the world
    std::int64_t joined_from_ = 0;
    Place joined_cause_ = kNowhere;
    Timeline timeline_;
};

void add_memory(const Programs& programs, Timeline& timeline) {
    for (const StageId stage : programs.ids()) {
        std::int64_t peak = 0;
        MemoryBytes peaks = {};
        timeline.memory.push_back(live_bytes(programs[stage], timeline.spans[stage]));
        for (const MemoryPoint& point : timeline.memory.back()) {
            const auto all = std::accumulate(point.bytes.begin(), point.bytes.end(), std::int64_t{0});
            peak = std::max(peak, all - point.bytes[static_cast<std::size_t>(MemoryCategory::offloaded)]);
            for (std::size_t c = 0; c < kMemoryCategories; ++c) peaks[c] = std::max(peaks[c], point.bytes[c]);
        }
        timeline.peak_bytes.push_back(peak);
        timeline.peak_by_category.push_back(peaks);
    }
}

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
    Timeline timeline = Simulation(programs, durations).run();
    add_memory(programs, timeline);
    return timeline;
}

std::vector<Place> critical_path(const Timeline& timeline) {
    Place at = kNowhere;
    for (const StageId stage : timeline.spans.ids()) {
        for (const ActionId i : timeline.spans[stage].ids()) {
            if ((at == kNowhere || at.stage == stage) && timeline.spans[stage][i].end == timeline.makespan)
                at = {stage, i};
        }
    }
    std::vector<Place> path;
    while (at != kNowhere) {
        path.push_back(at);
        at = timeline.spans[at.stage][at.position].cause;
    }
    std::reverse(path.begin(), path.end());
    return path;
}

}  // namespace smp::partition
