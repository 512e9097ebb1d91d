#include "partition/check/machine.h"

#include <map>
#include <tuple>

#include <fmt/format.h>

namespace smp::partition {

Machine::Machine(const Programs& programs, Clock& clock, Communicators communicators)
    : programs_(programs), clock_(clock), stages_(programs.size()) {
    for (const StageId stage : programs.ids()) {
        stages_[stage].has_come = Table<EventId, bool>(static_cast<std::size_t>(programs[stage].events), false);
        ends_.emplace_back(programs[stage].actions.size());
    }
    number_transfers();
    assign_lanes(communicators);
}

void Machine::number_transfers() {
    Table<StageId, Table<ActionId, Place>> counterparts;
    for (const RankProgram& program : programs_) counterparts.emplace_back(program.actions.size());
    for (const auto& [send, receive] : message_ends(programs_)) {
        counterparts[send.stage][send.position] = receive;
        counterparts[receive.stage][receive.position] = send;
    }
    for (const StageId stage : programs_.ids()) {
        for (const ActionId i : programs_[stage].actions.ids()) {
            const Place here{stage, i};
            const ActionFacts& facts = facts_of(action(here).kind);
            TransferId& transfer = ends_[stage][i].transfer;
            if (!facts.is_posted() || transfer != kNone) continue;
            const Place other = counterparts[stage][i];
            const bool receives = action(here).kind == ActionKind::receive;
            transfer = transfers_.add({.send = receives ? other : here,
                                       .receive = receives ? here : other,
                                       .is_message = facts.is_message()});
            ends_to_come_.push_back(facts.is_message() ? 2 : 1);
            if (other != Place()) ends_[other.stage][other.position].transfer = transfer;
        }
    }
}

void Machine::assign_lanes(Communicators communicators) {
    for (const StageId stage : programs_.ids()) {
        std::map<std::tuple<Stream, Edge>, LaneId> lanes;
        for (const ActionId i : programs_[stage].actions.ids()) {
            const Action& posted = action({stage, i});
            const ActionFacts& facts = facts_of(posted.kind);
            if (!facts.is_posted()) continue;
            Edge edge{.channel = posted.channel};
            if (facts.is_message() && communicators == Communicators::one_an_edge) edge = edge_of(stage, posted);
            LaneId& lane = lanes[{facts.stream, edge}];
            if (lane == kNone) lane = lanes_.add({});
            ends_[stage][i].lane = lane;
        }
    }
}

template <typename Do>
void Machine::for_each_end(TransferId transfer, Do&& act) {
    const auto [send, receive, is_message] = transfers_[transfer];
    if (send != Place()) act(send);
    if (receive != Place()) act(receive);
}

void Machine::begin() {
    for (const StageId stage : stages_.ids()) issue(stage);
}

void Machine::issue(StageId stage) {
    Stage& s = stages_[stage];
    if (s.is_issuing) return;
    s.is_issuing = true;
    while (!s.is_busy && !has_ended(stage) && waits_are_over(stage)) {
        const Place here{stage, s.next};
        clock_.issued(here);
        if (facts_of(action(here).kind).is_posted()) {
            ++s.next;
            post(here);
            continue;
        }
        s.is_busy = true;
        if (action(here).channel != Channel::world) {
            clock_.compute(here);
        } else if (++in_world_ == static_cast<int>(stages_.size())) {
            in_world_ = 0;
            for (const StageId each : stages_.ids()) clock_.compute({each, next(each)});
        }
    }
    s.is_issuing = false;
}

bool Machine::waits_are_over(StageId stage) {
    Stage& s = stages_[stage];
    const auto& waits = action({stage, s.next}).waits;
    while (s.waits_over < waits.size() && s.has_come[waits[s.waits_over]]) ++s.waits_over;
    if (s.waits_over < waits.size()) return false;
    s.waits_over = 0;
    return true;
}

void Machine::signal(Place at) {
    if (action(at).signals != kNone) stages_[at.stage].has_come[action(at).signals] = true;
}

void Machine::end_compute(StageId stage) {
    Stage& s = stages_[stage];
    signal({stage, s.next});
    ++s.next;
    s.is_busy = false;
    issue(stage);
}

void Machine::post(Place here) {
    const auto [transfer, lane] = ends_[here.stage][here.position];
    lanes_[lane].push_back(transfer);
    if (lanes_[lane].size() == 1) come_first(transfer);
}

/// At one of its ends nothing is ahead of it any more.
void Machine::come_first(TransferId transfer) {
    if (--ends_to_come_[transfer] == 0) clock_.transfer(transfer);
}

void Machine::let_go(TransferId transfer) {
    for_each_end(transfer, [&](Place end) {
        Lane& lane = lanes_[ends_[end.stage][end.position].lane];
        lane.pop_front();
        if (!lane.empty()) come_first(lane.front());
    });
}

void Machine::end_transfer(TransferId transfer) {
    for_each_end(transfer, [&](Place end) { signal(end); });
    for_each_end(transfer, [&](Place end) { issue(end.stage); });
}

std::string Machine::shown(Place place) const {
    return fmt::format("stage {} action {} ({})", place.stage, place.position, name_of(action(place)));
}

std::string Machine::reason(StageId stage) const {
    const Stage& s = stages_[stage];
    const Place here{stage, s.next};
    if (s.is_busy) return fmt::format("{} waits for ever for the other stages to join", shown(here));
    const EventId event = action(here).waits[s.waits_over];
    const auto& actions = programs_[stage].actions;
    ActionId source(0);
    while (actions[source].signals != event) ++source;
    std::string text =
        fmt::format("{} waits for ever for action {} ({}): ", shown(here), source, name_of(actions[source]));
    const auto [send, receive, is_message] = transfers_[transfer_of({stage, source})];
    for (const Place end : {send, receive}) {
        if (end != Place() && !is_posted(end)) {
            text += fmt::format("{} is never posted", shown(end));
            if (!has_ended(end.stage))
                text +=
                    fmt::format(", since stage {} is stopped at {}", end.stage, shown({end.stage, next(end.stage)}));
            return text;
        }
    }
    for (const Place end : {send, receive}) {
        if (end == Place()) continue;
        const TransferId first = lanes_[ends_[end.stage][end.position].lane].front();
        if (first == transfer_of(end)) continue;
        const Transfer& ahead = transfers_[first];
        return text + fmt::format("{} stands behind {} on its communicator", shown(end),
                                  shown(ahead.send.stage == end.stage ? ahead.send : ahead.receive));
    }
    return text + "nothing holds it up";
}

}  // namespace smp::partition
