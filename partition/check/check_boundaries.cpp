// What forward-only programs hold between stages: nothing else bounds how far a stage runs ahead of the next one.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition::passes {
namespace {

/// Boundary tensors of each chunk that have been received, or are to be, and not freed; and that have been sent and
/// that no action has waited for.
class Held {
  public:
    Held(const Programs& programs, StageId stage, int most, Findings& findings)
        : programs_(programs), program_(programs[stage]), stage_(stage), most_(most), findings_(findings) {}

    void run() {
        std::map<EventId, ChunkId> leaving;
        for (const ActionId i : program_.actions.ids()) {
            const Action& action = program_.actions[i];
            for (const EventId event : action.waits) {
                const auto sent = leaving.find(event);
                if (sent == leaving.end()) continue;
                --sent_[sent->second];
                leaving.erase(sent);
            }
            if (action.kind == ActionKind::receive) count(received_[action.chunk], i, "received");
            if (action.kind == ActionKind::forward)
                received_[action.chunk] -= static_cast<int>(std::ranges::count_if(
                    action.frees, [&](BufferId b) { return is_received(program_.buffers[b], action.chunk); }));
            if (action.kind == ActionKind::send) {
                leaving[action.signals] = action.chunk;
                count(sent_[action.chunk], i, "sent");
            }
        }
    }

  private:
    bool is_received(const Buffer& buffer, ChunkId by) const {
        return buffer.kind == BufferKind::activation_in && buffer.chunk == by;
    }
    void count(int& held, ActionId position, const char* how) {
        if (++held > most_)
            findings_.push_back(fmt::format("{} holds {} {} boundary tensors of its chunk, where {} are the most",
                                            shown(programs_, {stage_, position}), held, how, most_));
    }

    const Programs& programs_;
    const RankProgram& program_;
    StageId stage_;
    int most_;
    Findings& findings_;
    std::map<ChunkId, int> received_, sent_;
};

}  // namespace

Findings check_boundaries(const Programs& programs, const Duty& duty) {
    Findings findings;
    if (duty.training || duty.boundaries == 0) return findings;
    for (const StageId stage : programs.ids()) Held(programs, stage, duty.boundaries, findings).run();
    return findings;
}

}  // namespace smp::partition::passes
