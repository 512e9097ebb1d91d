// Random single changes of valid programs: what a bug in a builder, a bit flip or a careless hand would do.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "partition/plan/action.h"

namespace smp::partition::testing {

class Mutator {
  public:
    Mutator(Programs& programs, std::mt19937_64& random)
        : programs_(programs), random_(random), stage_(below(programs.size())) {}

    /// Changes one thing and says what; empty if the dice found nothing to change.
    std::string mutate() {
        using Change = std::string (Mutator::*)();
        constexpr Change kChanges[] = {
            &Mutator::drop,
            &Mutator::duplicate,
            &Mutator::swap_neighbours,
            &Mutator::swap_any,
            &Mutator::move,
            &Mutator::other_peer,
            &Mutator::other_bytes,
            &Mutator::other_microbatch,
            &Mutator::other_chunk,
            &Mutator::other_stream,
            &Mutator::remove_wait,
            &Mutator::add_wait,
            &Mutator::swap_collectives,
            &Mutator::free_early,
            &Mutator::other_buffer,
        };
        return (this->*kChanges[below(std::size(kChanges))])();
    }

  private:
    RankProgram& program() { return programs_[stage_]; }
    Table<ActionId, Action>& actions() { return program().actions; }
    std::size_t below(std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_); }
    bool coin() { return below(2) == 0; }
    ActionId any() { return ActionId(below(actions().size())); }
    auto iterator(ActionId position) { return actions().begin() + position.number(); }
    std::string said(const std::string& what, ActionId position) {
        return fmt::format("{} stage {} action {} ({})", what, stage_, position, name_of(actions()[position]));
    }
    /// Lets go of events that no action signals or waits for any more, so that what is left is well-formed.
    void tidy_events() {
        Table<EventId, bool> signalled(static_cast<std::size_t>(program().events), false), awaited = signalled;
        for (const Action& action : actions()) {
            if (action.signals != kNone) signalled[action.signals] = true;
            for (const EventId event : action.waits) awaited[event] = true;
        }
        Table<EventId, EventId> number(signalled.size());
        int count = 0;
        for (const EventId e : number.ids())
            if (signalled[e] && awaited[e]) number[e] = EventId(count++);
        for (Action& action : actions()) {
            if (action.signals != kNone) action.signals = number[action.signals];
            for (EventId& event : action.waits) event = number[event];
            std::erase(action.waits, EventId());
        }
        program().events = count;
    }

    std::string drop() {
        const ActionId i = any();
        const std::string text = said("drop", i);
        actions().erase(iterator(i));
        if (coin()) tidy_events();
        return text;
    }
    std::string duplicate() {
        const ActionId i = any();
        const std::string text = said("duplicate", i);
        Action copy = actions()[i];
        if (coin()) copy.signals = kNone;
        actions().insert(iterator(i + 1 + static_cast<int>(below(actions().size() - i.index()))), copy);
        return text;
    }
    std::string swap_neighbours() {
        if (actions().size() < 2) return "";
        const ActionId i(below(actions().size() - 1));
        const std::string text = said("swap with the next one", i);
        std::swap(actions()[i], actions()[i + 1]);
        return text;
    }
    std::string swap_any() {
        const ActionId i = any(), j = any();
        if (i == j) return "";
        const std::string text = said("swap", i) + " and " + said("", j);
        std::swap(actions()[i], actions()[j]);
        if (coin()) {  // the events stay where they were
            std::swap(actions()[i].waits, actions()[j].waits);
            std::swap(actions()[i].signals, actions()[j].signals);
        }
        return text;
    }
    std::string move() {
        const ActionId from = any(), to = any();
        if (from == to) return "";
        const std::string text = said(fmt::format("move to {}:", to), from);
        if (from < to)
            std::rotate(iterator(from), iterator(from + 1), iterator(to + 1));
        else
            std::rotate(iterator(to), iterator(from), iterator(from + 1));
        return text;
    }
    std::string other_peer() {
        const ActionId i = any();
        if (actions()[i].peer == kNone) return "";
        const std::string text = said("other peer:", i);
        actions()[i].peer = StageId(below(programs_.size() + 1));
        return text;
    }
    std::string other_bytes() {
        const ActionId i = any();
        if (actions()[i].bytes == 0) return "";
        const std::string text = said("other bytes:", i);
        actions()[i].bytes += coin() ? 4 : -4;
        if (coin()) {
            for (const auto* list : {&actions()[i].reads, &actions()[i].writes})
                for (const BufferId b : *list) program().buffers[b].bytes = actions()[i].bytes;
        }
        return text;
    }
    std::string other_microbatch() {
        const ActionId i = any();
        if (actions()[i].microbatch == kNone) return "";
        const std::string text = said("other microbatch:", i);
        actions()[i].microbatch = actions()[i].microbatch + (coin() ? 1 : -1);
        return text;
    }
    std::string other_chunk() {
        const ActionId i = any();
        if (actions()[i].chunk == kNone) return "";
        const std::string text = said("other chunk:", i);
        const int far = (coin() ? 1 : -1) * (coin() ? 1 : static_cast<int>(programs_.size()));
        actions()[i].chunk = actions()[i].chunk + far;
        return text;
    }
    std::string other_stream() {
        const ActionId i = any();
        const std::string text = said("other stream:", i);
        const auto stream = static_cast<std::size_t>(actions()[i].stream);
        actions()[i].stream = static_cast<Stream>((stream + 1 + below(kStreams - 1)) % kStreams);
        return text;
    }
    std::string remove_wait() {
        const ActionId i = any();
        auto& waits = actions()[i].waits;
        if (waits.empty()) return "";
        const std::string text = said("remove a wait:", i);
        waits.erase(waits.begin() + static_cast<std::ptrdiff_t>(below(waits.size())));
        if (coin()) tidy_events();
        return text;
    }
    std::string add_wait() {
        const ActionId i = any();
        if (program().events == 0) return "";
        const std::string text = said("add a wait:", i);
        actions()[i].waits.push_back(EventId(below(static_cast<std::size_t>(program().events))));
        return text;
    }
    std::string swap_collectives() {
        std::vector<ActionId> collectives;
        for (const ActionId i : actions().ids()) {
            if (actions()[i].channel == Channel::data || actions()[i].channel == Channel::world)
                collectives.push_back(i);
        }
        if (collectives.size() < 2) return "";
        const std::size_t n = below(collectives.size() - 1);
        const ActionId i = collectives[n], j = collectives[n + 1];
        const std::string text = said("swap collectives:", i);
        std::swap(actions()[i], actions()[j]);
        return text;
    }
    std::string free_early() {
        const ActionId i = any();
        if (actions()[i].frees.empty() || i == ActionId(0)) return "";
        const std::string text = said("free early:", i);
        const std::size_t which = below(actions()[i].frees.size());
        const BufferId buffer = actions()[i].frees[which];
        actions()[i].frees.erase(actions()[i].frees.begin() + static_cast<std::ptrdiff_t>(which));
        actions()[ActionId(below(i.index()))].frees.push_back(buffer);
        return text;
    }
    std::string other_buffer() {
        const ActionId i = any();
        Action& action = actions()[i];
        std::vector<BufferId>& list = coin() ? action.reads : coin() ? action.writes : action.consumes;
        if (list.empty()) return "";
        const std::string text = said("other buffer:", i);
        list[below(list.size())] = BufferId(below(program().buffers.size()));
        return text;
    }

    Programs& programs_;
    std::mt19937_64& random_;
    StageId stage_;
};

}  // namespace smp::partition::testing
