// The abstract machine: each stage issues its list in order and stops at a wait until the event has come; posting never
// stops it; a message leaves and arrives when both sides have posted it; a collective over the world needs all stages.
#include <algorithm>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition::passes {
namespace {

class Machine {
  public:
    explicit Machine(const Programs& programs)
        : programs_(programs), next_(programs.size(), ActionId(0)), joined_(programs.size(), 0) {
        for (const RankProgram& program : programs) {
            done_.emplace_back(program.actions.size(), false);
            signaller_.emplace_back(static_cast<std::size_t>(program.events));
            for (const ActionId i : program.actions.ids()) {
                const EventId event = program.actions[i].signals;
                if (event != kNone) signaller_.back()[event] = i;
            }
        }
        pair_messages();
    }

    Findings run() {
        for (bool moved = true; moved;) {
            moved = false;
            for (const StageId stage : programs_.ids()) moved = advance(stage) || moved;
        }
        Findings findings;
        for (const StageId stage : programs_.ids()) {
            if (next(stage) < end(stage)) findings.push_back(explain(stage));
        }
        return findings;
    }

  private:
    ActionId end(StageId stage) const { return programs_[stage].actions.end_id(); }
    ActionId& next(StageId stage) { return next_[stage]; }
    bool is_done(Place place) const { return done_[place.stage][place.position]; }
    void set_done(Place place) { done_[place.stage][place.position] = true; }
    ActionId signaller(StageId stage, EventId event) const { return signaller_[stage][event]; }

    void pair_messages() {
        for (const RankProgram& program : programs_) counterpart_.emplace_back(program.actions.size());
        for (const auto& [pair, pairing] : pairings_of(programs_)) {
            for (std::size_t n = 0; n < pairing.sends.size(); ++n) {
                counterpart(pairing.sends[n]) = pairing.receives[n];
                counterpart(pairing.receives[n]) = pairing.sends[n];
            }
        }
    }
    Place& counterpart(Place place) { return counterpart_[place.stage][place.position]; }

    /// Position of the action that a stage's next one still waits for; none if it does not.
    ActionId awaited(StageId stage) const {
        for (const EventId event : at(programs_, {stage, next_[stage]}).waits) {
            if (!is_done({stage, signaller(stage, event)})) return signaller(stage, event);
        }
        return kNone;
    }

    bool advance(StageId stage) {
        bool moved = false;
        for (; next(stage) < end(stage); ++next(stage), moved = true) {
            const Place here{stage, next(stage)};
            if (awaited(stage) != kNone) break;
            const Action& action = at(programs_, here);
            if (action.kind == ActionKind::send || action.kind == ActionKind::receive) {
                const Place other = counterpart(here);
                if (next(other.stage) > other.position) {  // posted there already
                    set_done(here);
                    set_done(other);
                }
            } else if (action.channel == Channel::world) {
                auto& joined = joined_[stage];
                if (!is_waiting_in_collective(stage)) {
                    ++joined;
                    waiting_.push_back(stage);
                    moved = true;
                }
                if (!all_joined(joined)) break;
                std::erase(waiting_, stage);
                set_done(here);
            } else {
                set_done(here);
            }
        }
        return moved;
    }
    bool is_waiting_in_collective(StageId stage) const {
        return std::find(waiting_.begin(), waiting_.end(), stage) != waiting_.end();
    }
    bool all_joined(int count) const {
        return std::all_of(joined_.begin(), joined_.end(), [&](int joined) { return joined >= count; });
    }

    std::string explain(StageId stage) {
        const Place here{stage, next(stage)};
        const ActionId source = awaited(stage);
        if (source == kNone)
            return fmt::format("{} waits for ever for the other stages to join", shown(programs_, here));
        const Place other = counterpart({stage, source});
        std::string text =
            fmt::format("{} waits for ever for action {} ({}): {} is never posted", shown(programs_, here), source,
                        name_of(at(programs_, {stage, source})), shown(programs_, other));
        if (next(other.stage) < end(other.stage))
            text += fmt::format(", since stage {} is stopped at {}", other.stage,
                                shown(programs_, {other.stage, next(other.stage)}));
        return text;
    }

    const Programs& programs_;
    Table<StageId, ActionId> next_;  // that each stage issues
    Table<StageId, int> joined_;     // collectives that each stage has entered
    std::vector<StageId> waiting_;
    Table<StageId, Table<ActionId, bool>> done_;
    Table<StageId, Table<EventId, ActionId>> signaller_;
    Table<StageId, Table<ActionId, Place>> counterpart_;
};

}  // namespace

Findings check_end(const Programs& programs) { return Machine(programs).run(); }

}  // namespace smp::partition::passes
