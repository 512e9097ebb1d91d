#include <algorithm>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition::passes {
namespace {

const Buffer& moved_by(const Programs& programs, Place place) {
    const Action& action = at(programs, place);
    const BufferId id = action.kind == ActionKind::send ? action.reads.front() : action.writes.front();
    return programs[place.stage].buffers[id];
}

/// What differs between a send and the receive that it meets; empty if they fit.
std::string difference(const Programs& programs, Place sent, Place received) {
    const Action& send = at(programs, sent);
    const Action& receive = at(programs, received);
    if (send.microbatch != receive.microbatch) return "another microbatch";
    const int step = send.channel == Channel::activations ? 1 : send.channel == Channel::gradients ? -1 : 0;
    if (step != 0 && send.chunk + step != receive.chunk) return "the tensor of another chunk";
    const Buffer& from = moved_by(programs, sent);
    const Buffer& to = moved_by(programs, received);
    if (from.shared != to.shared || from.module != to.module) return "the gradient of another module";
    if (send.bytes != receive.bytes) return fmt::format("{} bytes instead of {}", receive.bytes, send.bytes);
    return "";
}

void compare(const Programs& programs, const EdgeMessages& messages, Findings& findings) {
    const std::size_t met = std::min(messages.sends.size(), messages.receives.size());
    for (std::size_t n = 0; n < met; ++n) {
        const std::string what = difference(programs, messages.sends[n], messages.receives[n]);
        if (what.empty()) continue;
        findings.push_back(fmt::format("{} meets {}, which expects {}", shown(programs, messages.sends[n]),
                                       shown(programs, messages.receives[n]), what));
        return;  // what follows is shifted
    }
    const auto unmet = [&](Place left_over, const char* counterpart, const std::vector<Place>& others) {
        findings.push_back(fmt::format("{} meets no {}: {}", shown(programs, left_over), counterpart,
                                       others.empty()
                                           ? fmt::format("stage {} posts none", at(programs, left_over).peer)
                                           : fmt::format("the last one is {}", shown(programs, others.back()))));
    };
    if (messages.sends.size() > met) unmet(messages.sends[met], "receive", messages.receives);
    if (messages.receives.size() > met) unmet(messages.receives[met], "send", messages.sends);
}

/// Collectives over the world come in the same order on every stage. Those of a data group are in the same program on
/// all its ranks.
void compare_collectives(const Programs& programs, Findings& findings) {
    Table<StageId, std::vector<Place>> collectives(programs.size());
    for (const StageId stage : programs.ids()) {
        for (const ActionId i : programs[stage].actions.ids()) {
            if (at(programs, {stage, i}).channel == Channel::world) collectives[stage].push_back({stage, i});
        }
    }
    for (const StageId stage : programs.ids()) {
        const auto& first = collectives.front();
        const auto& here = collectives[stage];
        for (std::size_t n = 0; n < std::max(first.size(), here.size()); ++n) {
            if (n >= first.size() || n >= here.size()) {
                findings.push_back(fmt::format("{} is a collective that stage {} does not join",
                                               shown(programs, n < here.size() ? here[n] : first[n]),
                                               n < here.size() ? StageId(0) : stage));
                break;
            }
            const Action &a = at(programs, first[n]), &b = at(programs, here[n]);
            if (a.kind == b.kind && a.bytes == b.bytes) continue;
            findings.push_back(
                fmt::format("{} meets {} in one collective", shown(programs, first[n]), shown(programs, here[n])));
            break;
        }
    }
}

}  // namespace

Findings check_messages(const Programs& programs) {
    Findings findings;
    for (const auto& [edge, messages] : messages_by_edge(programs)) compare(programs, messages, findings);
    compare_collectives(programs, findings);
    return findings;
}

}  // namespace smp::partition::passes
