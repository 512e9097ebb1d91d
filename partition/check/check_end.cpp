// The abstract machine: each stage issues its list in order and stops at a wait until the event has come; posting never
// stops it; a message leaves and arrives when both sides have posted it; a collective over the world needs all stages.
#include <algorithm>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition::passes {
namespace {

class Machine {
  public:
    explicit Machine(const std::vector<RankProgram>& programs)
        : programs_(programs), next_(programs.size(), 0), joined_(programs.size(), 0) {
        for (const RankProgram& program : programs) {
            done_.emplace_back(program.actions.size(), false);
            signaller_.emplace_back(static_cast<std::size_t>(program.events), -1);
            for (std::size_t i = 0; i < program.actions.size(); ++i) {
                const int event = program.actions[i].signals;
                if (event >= 0) signaller_.back()[static_cast<std::size_t>(event)] = static_cast<int>(i);
            }
        }
        pair_messages();
    }

    Findings run() {
        for (bool moved = true; moved;) {
            moved = false;
            for (int stage = 0; stage < stages(); ++stage) moved = advance(stage) || moved;
        }
        Findings findings;
        for (int stage = 0; stage < stages(); ++stage) {
            if (next(stage) < size(stage)) findings.push_back(explain(stage));
        }
        return findings;
    }

  private:
    int stages() const { return static_cast<int>(programs_.size()); }
    int size(int stage) const { return static_cast<int>(programs_[static_cast<std::size_t>(stage)].actions.size()); }
    int& next(int stage) { return next_[static_cast<std::size_t>(stage)]; }
    bool is_done(Place place) const {
        return done_[static_cast<std::size_t>(place.stage)][static_cast<std::size_t>(place.position)];
    }
    void set_done(Place place) {
        done_[static_cast<std::size_t>(place.stage)][static_cast<std::size_t>(place.position)] = true;
    }
    int signaller(int stage, int event) const {
        return signaller_[static_cast<std::size_t>(stage)][static_cast<std::size_t>(event)];
    }

    void pair_messages() {
        for (const RankProgram& program : programs_) counterpart_.emplace_back(program.actions.size());
        for (const auto& [pair, pairing] : pairings_of(programs_)) {
            for (std::size_t n = 0; n < pairing.sends.size(); ++n) {
                counterpart(pairing.sends[n]) = pairing.receives[n];
                counterpart(pairing.receives[n]) = pairing.sends[n];
            }
        }
    }
    Place& counterpart(Place place) {
        return counterpart_[static_cast<std::size_t>(place.stage)][static_cast<std::size_t>(place.position)];
    }

    /// Position of the action that a stage's next one still waits for; −1 if none.
    int awaited(int stage) const {
        for (const int event : at(programs_, {stage, next_[static_cast<std::size_t>(stage)]}).waits) {
            if (!is_done({stage, signaller(stage, event)})) return signaller(stage, event);
        }
        return -1;
    }

    bool advance(int stage) {
        bool moved = false;
        for (; next(stage) < size(stage); ++next(stage), moved = true) {
            const Place here{stage, next(stage)};
            if (awaited(stage) >= 0) break;
            const Action& action = at(programs_, here);
            if (action.kind == ActionKind::send || action.kind == ActionKind::receive) {
                const Place other = counterpart(here);
                if (next(other.stage) > other.position) {  // posted there already
                    set_done(here);
                    set_done(other);
                }
            } else if (action.channel == Channel::world) {
                auto& joined = joined_[static_cast<std::size_t>(stage)];
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
    bool is_waiting_in_collective(int stage) const {
        return std::find(waiting_.begin(), waiting_.end(), stage) != waiting_.end();
    }
    bool all_joined(int count) const {
        return std::all_of(joined_.begin(), joined_.end(), [&](int joined) { return joined >= count; });
    }

    std::string explain(int stage) {
        const Place here{stage, next(stage)};
        const int source = awaited(stage);
        if (source < 0) return fmt::format("{} waits for ever for the other stages to join", shown(programs_, here));
        const Place other = counterpart({stage, source});
        std::string text =
            fmt::format("{} waits for ever for action {} ({}): {} is never posted", shown(programs_, here), source,
                        name_of(at(programs_, {stage, source})), shown(programs_, other));
        if (next(other.stage) < size(other.stage))
            text += fmt::format(", since stage {} is stopped at {}", other.stage,
                                shown(programs_, {other.stage, next(other.stage)}));
        return text;
    }

    const std::vector<RankProgram>& programs_;
    std::vector<int> next_;    // position of the action that each stage issues next
    std::vector<int> joined_;  // collectives that each stage has entered
    std::vector<int> waiting_;
    std::vector<std::vector<bool>> done_;
    std::vector<std::vector<int>> signaller_;
    std::vector<std::vector<Place>> counterpart_;
};

}  // namespace

Findings check_end(const std::vector<RankProgram>& programs) { return Machine(programs).run(); }

}  // namespace smp::partition::passes
