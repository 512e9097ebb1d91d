#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition::passes {
namespace {

bool is_transfer(ActionKind kind) { return kind == ActionKind::send || kind == ActionKind::receive; }
bool suits(ActionKind kind, Channel channel) {
    switch (kind) {
        case ActionKind::send:
        case ActionKind::receive:
            return channel == Channel::activations || channel == Channel::gradients || channel == Channel::tied;
        case ActionKind::reduce_gradients:
        case ActionKind::gather_parameters: return channel == Channel::data;
        case ActionKind::optimizer_step: return channel == Channel::world;
        default: return channel == Channel::none;
    }
}

Findings check_action(const std::vector<RankProgram>& programs, Place place) {
    Findings findings;
    const Action& action = at(programs, place);
    const RankProgram& program = programs[static_cast<std::size_t>(place.stage)];
    const auto add = [&](const std::string& what) { findings.push_back(shown(programs, place) + " " + what); };
    if (action.stream != stream_of(action.kind)) add("is on the wrong stream");
    if (!suits(action.kind, action.channel)) add("is on a channel that its kind does not use");
    const auto stages = static_cast<int>(programs.size());
    if (is_transfer(action.kind) && (action.peer < 0 || action.peer >= stages || action.peer == place.stage)) {
        add(fmt::format("has no stage {} to exchange with", action.peer));
    }
    if (is_transfer(action.kind) && action.reads.size() + action.writes.size() != 1)
        add("does not move exactly one buffer");
    for (const auto* list : {&action.reads, &action.writes, &action.frees}) {
        for (const int buffer : *list) {
            if (buffer < 0 || buffer >= static_cast<int>(program.buffers.size()))
                add(fmt::format("uses buffer {}, which is not there", buffer));
        }
    }
    for (const int event : action.waits) {
        if (event < 0 || event >= program.events) add(fmt::format("waits for event {}, which is not there", event));
    }
    if (action.signals < -1 || action.signals >= program.events)
        add(fmt::format("signals event {}, which is not there", action.signals));
    return findings;
}

Findings check_events(const std::vector<RankProgram>& programs, int stage) {
    Findings findings;
    const RankProgram& program = programs[static_cast<std::size_t>(stage)];
    std::vector<int> signaller(static_cast<std::size_t>(program.events), -1), waiter = signaller;
    const auto actions = static_cast<int>(program.actions.size());
    for (int i = 0; i < actions; ++i) {
        const Place here{stage, i};
        const int event = at(programs, here).signals;
        if (event < 0) continue;
        int& first = signaller[static_cast<std::size_t>(event)];
        if (first >= 0) {
            findings.push_back(fmt::format("{} signals event {}, which {} signals too", shown(programs, here), event,
                                           shown(programs, {stage, first})));
        }
        first = i;
    }
    for (int i = 0; i < actions; ++i) {
        const Place here{stage, i};
        for (const int event : at(programs, here).waits) {
            const int source = signaller[static_cast<std::size_t>(event)];
            waiter[static_cast<std::size_t>(event)] = i;
            if (source < 0) {
                findings.push_back(
                    fmt::format("{} waits for event {}, which no action signals", shown(programs, here), event));
            } else if (source >= i) {
                findings.push_back(fmt::format("{} waits for {}, which comes only after it", shown(programs, here),
                                               shown(programs, {stage, source})));
            }
        }
    }
    for (int event = 0; event < program.events; ++event) {
        const int source = signaller[static_cast<std::size_t>(event)];
        if (waiter[static_cast<std::size_t>(event)] >= 0 || source < 0) continue;
        findings.push_back(fmt::format("no action waits for {}, not even the last one, {}",
                                       shown(programs, {stage, source}), shown(programs, {stage, actions - 1})));
    }
    for (int i = 0; i < actions; ++i) {
        if (stream_of(at(programs, {stage, i}).kind) == Stream::compute || at(programs, {stage, i}).signals >= 0)
            continue;
        findings.push_back(fmt::format("no action waits for {}, not even the last one, {}", shown(programs, {stage, i}),
                                       shown(programs, {stage, actions - 1})));
    }
    return findings;
}

}  // namespace

Findings check_form(const std::vector<RankProgram>& programs) {
    Findings findings;
    for (int stage = 0; stage < static_cast<int>(programs.size()); ++stage) {
        const auto actions = static_cast<int>(programs[static_cast<std::size_t>(stage)].actions.size());
        for (int i = 0; i < actions; ++i) {
            const Findings found = check_action(programs, {stage, i});
            findings.insert(findings.end(), found.begin(), found.end());
        }
        if (!findings.empty()) continue;
        const Findings found = check_events(programs, stage);
        findings.insert(findings.end(), found.begin(), found.end());
    }
    return findings;
}

}  // namespace smp::partition::passes
