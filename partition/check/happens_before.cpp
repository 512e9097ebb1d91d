#include "partition/check/happens_before.h"

#include <limits>

namespace smp::partition {
namespace {

constexpr int kNever = std::numeric_limits<int>::max();

std::size_t index_of(Stream stream) { return static_cast<std::size_t>(stream); }

}  // namespace

HappensBefore::HappensBefore(const RankProgram& program) : program_(program) {
    const std::size_t count = program.actions.size();
    std::vector<int> signaller(static_cast<std::size_t>(program.events), -1);
    for (auto& known : known_on_) known.assign(count, kNever);
    // On each stream: actions known to have ended, in the order of learning.
    std::array<std::vector<int>, kStreams> learnt;
    // How much of the other streams' lists each stream has taken over.
    std::array<std::array<std::size_t, kStreams>, kStreams> taken = {};

    for (std::size_t i = 0; i < count; ++i) {
        const Action& action = program.actions[i];
        const std::size_t here = index_of(action.stream);
        const auto position = static_cast<int>(i);
        const auto learn = [&](std::size_t stream, int ended, int from) {
            int& known = known_on_[stream][static_cast<std::size_t>(ended)];
            if (known != kNever) return;
            known = from;
            learnt[stream].push_back(ended);
        };
        for (const int event : action.waits) {
            const int source = signaller[static_cast<std::size_t>(event)];
            const std::size_t there = index_of(program.actions[static_cast<std::size_t>(source)].stream);
            if (there != here) {
                // All that the other stream knew when the awaited action started.
                std::size_t& from_there = taken[here][there];
                while (from_there < learnt[there].size()) {
                    const int ended = learnt[there][from_there];
                    if (known_on_[there][static_cast<std::size_t>(ended)] > source) break;
                    learn(here, ended, position);
                    ++from_there;
                }
            }
            learn(here, source, position);
        }
        if (action.signals >= 0) signaller[static_cast<std::size_t>(action.signals)] = position;
        // The next compute action starts after this one has ended.
        if (action.stream == Stream::compute) learn(here, position, position + 1);
    }
}

bool HappensBefore::ends_before(int earlier, int later) const {
    const Stream stream = program_.actions[static_cast<std::size_t>(later)].stream;
    return known_on_[index_of(stream)][static_cast<std::size_t>(earlier)] <= later;
}

}  // namespace smp::partition
