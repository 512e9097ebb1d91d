#include <algorithm>
#include <vector>

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

/// None where all differ.
BufferId repeated(std::vector<BufferId> list) {
    std::sort(list.begin(), list.end());
    const auto found = std::adjacent_find(list.begin(), list.end());
    return found == list.end() ? BufferId() : *found;
}

Findings check_action(const Programs& programs, Place place) {
    Findings findings;
    const Action& action = at(programs, place);
    const RankProgram& program = programs[place.stage];
    const auto add = [&](const std::string& what) { findings.push_back(shown(programs, place) + " " + what); };
    if (action.stream != facts_of(action.kind).stream) add("is on the wrong stream");
    if (!suits(action.kind, action.channel)) add("is on a channel that its kind does not use");
    if (is_transfer(action.kind) && (!programs.has(action.peer) || action.peer == place.stage))
        add(fmt::format("has no stage {} to exchange with", action.peer));
    if (is_transfer(action.kind) && action.reads.size() + action.writes.size() != 1)
        add("does not move exactly one buffer");
    for (const auto* list : {&action.reads, &action.writes, &action.consumes, &action.scratch, &action.frees}) {
        for (const BufferId buffer : *list) {
            if (!program.buffers.has(buffer)) add(fmt::format("uses buffer {}, which is not there", buffer));
        }
        if (const BufferId twice = repeated(*list); twice != kNone) add(fmt::format("lists buffer {} twice", twice));
    }
    const bool computes = facts_of(action.kind).computation || action.kind == ActionKind::recompute;
    const bool sums_rows = action.kind == ActionKind::sum_row_gradients;
    if (!computes && !action.consumes.empty()) add("has no passes, which alone consume buffers");
    if (!computes && !sums_rows && (action.growth_bytes != 0 || action.tensor != Exchange()))
        add("has no passes and sums no rows, which alone take memory and meet the tensor group");
    if (action.tensor.rounds < 0 || action.tensor.bytes < 0 ||
        (action.tensor.rounds == 0) != (action.tensor.bytes == 0))
        add(fmt::format("has {} rounds of {} bytes", action.tensor.rounds, action.tensor.bytes));
    if (action.bucket != kNone && action.channel != Channel::data) add("has a bucket, which collectives alone have");
    for (const BufferId b : action.scratch) {
        if (computes || !program.buffers.has(b)) continue;
        const Buffer& buffer = program.buffers[b];
        const bool is_own =
            sums_rows ? buffer.kind == BufferKind::scratch && buffer.chunk == action.chunk
                      : action.kind == ActionKind::reduce_gradients && buffer.kind == BufferKind::reduction_scratch;
        if (!is_own) add(fmt::format("must not use {} as scratch", name_of(buffer)));
    }
    const EventId end(program.events);
    for (const EventId event : action.waits) {
        if (event == kNone || event >= end) add(fmt::format("waits for event {}, which is not there", event));
    }
    if (action.signals >= end) add(fmt::format("signals event {}, which is not there", action.signals));
    return findings;
}

Findings check_events(const Programs& programs, StageId stage) {
    Findings findings;
    const RankProgram& program = programs[stage];
    Table<EventId, ActionId> signaller(static_cast<std::size_t>(program.events)), waiter = signaller;
    const auto& actions = program.actions;
    for (const ActionId i : actions.ids()) {
        const Place here{stage, i};
        const EventId event = at(programs, here).signals;
        if (event == kNone) continue;
        ActionId& first = signaller[event];
        if (first != kNone) {
            findings.push_back(fmt::format("{} signals event {}, which {} signals too", shown(programs, here), event,
                                           shown(programs, {stage, first})));
        }
        first = i;
    }
    for (const ActionId i : actions.ids()) {
        const Place here{stage, i};
        for (const EventId event : at(programs, here).waits) {
            const ActionId source = signaller[event];
            waiter[event] = i;
            if (source == kNone) {
                findings.push_back(
                    fmt::format("{} waits for event {}, which no action signals", shown(programs, here), event));
            } else if (source >= i) {
                findings.push_back(fmt::format("{} waits for {}, which comes only after it", shown(programs, here),
                                               shown(programs, {stage, source})));
            }
        }
    }
    for (const EventId event : signaller.ids()) {
        const ActionId source = signaller[event];
        if (waiter[event] != kNone || source == kNone) continue;
        findings.push_back(fmt::format("no action waits for {}, not even the last one, {}",
                                       shown(programs, {stage, source}), shown(programs, {stage, actions.last_id()})));
    }
    for (const ActionId i : actions.ids()) {
        if (!facts_of(at(programs, {stage, i}).kind).is_posted() || at(programs, {stage, i}).signals != kNone) continue;
        findings.push_back(fmt::format("no action waits for {}, not even the last one, {}", shown(programs, {stage, i}),
                                       shown(programs, {stage, actions.last_id()})));
    }
    return findings;
}

}  // namespace

Findings check_form(const Programs& programs) {
    Findings findings;
    for (const StageId stage : programs.ids()) {
        const auto& actions = programs[stage].actions;
        for (const ActionId i : actions.ids()) {
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
