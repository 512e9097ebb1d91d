#include "partition/check/happens_before.h"

#include <limits>

namespace smp::partition {
namespace {

constexpr ActionId kNever(std::numeric_limits<int>::max());

std::size_t index_of(Stream stream) { return static_cast<std::size_t>(stream); }

}  // namespace

HappensBefore::HappensBefore(const RankProgram& program) : program_(program) {
    const std::size_t count = program.actions.size();
    Table<EventId, ActionId> signaller(static_cast<std::size_t>(program.events));
    for (auto& known : known_on_) known.assign(count, kNever);
    // On each stream: actions known to have ended, in the order of learning.
    std::array<std::vector<ActionId>, kStreams> learnt;
    // How much of the other streams' lists each stream has taken over.
    std::array<std::array<std::size_t, kStreams>, kStreams> taken = {};

    for (const ActionId position : program.actions.ids()) {
        const Action& action = program.actions[position];
        const std::size_t here = index_of(action.stream);
        const auto learn = [&](std::size_t stream, ActionId ended, ActionId from) {
            ActionId& known = known_on_[stream][ended];
            if (known != kNever) return;
            known = from;
            learnt[stream].push_back(ended);
        };
        for (const EventId event : action.waits) {
            const ActionId source = signaller[event];
            const std::size_t there = index_of(program.actions[source].stream);
            if (there != here) {
                // All that the other stream knew when the awaited action started.
                std::size_t& from_there = taken[here][there];
                while (from_there < learnt[there].size()) {
                    const ActionId ended = learnt[there][from_there];
                    if (known_on_[there][ended] > source) break;
                    learn(here, ended, position);
                    ++from_there;
                }
            }
            learn(here, source, position);
        }
        if (action.signals != kNone) signaller[action.signals] = position;
        // The next compute action starts after this one has ended.
        if (action.stream == Stream::compute) learn(here, position, position + 1);
    }
}

bool HappensBefore::ends_before(ActionId earlier, ActionId later) const {
    const Stream stream = program_.actions[later].stream;
    return known_on_[index_of(stream)][earlier] <= later;
}

}  // namespace smp::partition
