#include "partition/foresight/measured_durations.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "partition/foresight/simulator.h"

namespace smp::partition {

namespace {

const Table<ActionId, Action>& actions_of(const Plan& plan, int rank) {
    return plan.training[StageId(coordinate_of(plan.topology, rank).pp)].actions;
}

bool computes(const Action& action) { return !facts_of(action.kind).is_posted(); }

bool copies(const Action& action) { return facts_of(action.kind).is_copy(); }

std::vector<int> all_ranks(const Plan& plan) {
    std::vector<int> ranks(plan.topology.degrees.world());
    for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank) ranks[rank] = rank;
    return ranks;
}

}  // namespace

Table<StageId, int> pipeline_of(const Plan& plan, int tp, int rdp) {
    const auto ranks = group_along(plan.topology, {.pp = 0, .tp = tp, .rdp = rdp}, Axis::pipeline);
    return {ranks.begin(), ranks.end()};
}

namespace {

/// By stage and position: when the action would have begun, had its thread done nothing since the compute action before
/// it (since the begin of the step, for the first ones) but wait.
Table<StageId, Table<ActionId, std::int64_t>> could_begin(const Plan& plan, const StepTimes& times,
                                                          const Table<StageId, int>& pipeline) {
    std::int64_t step_began = std::numeric_limits<std::int64_t>::max();
    for (const StageId stage : pipeline.ids()) {
        const auto& actions = plan.training[stage].actions;
        for (const ActionId i : actions.ids())
            if (computes(actions[i])) step_began = std::min(step_began, times.ranks[pipeline[stage]][i].start);
    }
    Table<StageId, Table<ActionId, std::int64_t>> began(pipeline.size());
    for (const StageId stage : pipeline.ids()) {
        const auto& program = plan.training[stage];
        const ActionTimes& own = times.ranks[pipeline[stage]];
        Table<EventId, std::int64_t> signalled(static_cast<std::size_t>(program.events), step_began);
        std::int64_t compute_ended = step_began, waited = 0;  // since then
        for (const ActionId i : own.ids()) {
            const Action& action = program.actions[i];
            waited += std::max<std::int64_t>(0, own[i].start - std::max(own[i].reached, step_began));
            std::int64_t ready = compute_ended;
            for (const EventId event : action.waits) ready = std::max(ready, signalled[event]);
            const std::int64_t busy = own[i].start - compute_ended - waited;
            began[stage].push_back(own[i].start - std::max<std::int64_t>(0, std::min(own[i].start - ready, busy)));
            if (action.signals != kNone) signalled[action.signals] = own[i].end;
            if (!computes(action)) continue;
            compute_ended = own[i].end;
            waited = 0;
        }
    }
    return began;
}

double seconds(std::int64_t nanoseconds) { return 1e-9 * static_cast<double>(nanoseconds); }

}  // namespace

std::int64_t first_nanosecond(const StepTimes& times) {
    std::int64_t first = std::numeric_limits<std::int64_t>::max();
    for (const ActionTimes& rank : times.ranks)
        for (const ActionTime& time : rank) first = std::min(first, time.start);
    return first;
}

std::int64_t measured_nanoseconds(const Plan& plan, const StepTimes& times) {
    std::int64_t begin = std::numeric_limits<std::int64_t>::max(), end = std::numeric_limits<std::int64_t>::min();
    for (const int rank : all_ranks(plan)) {
        const auto& actions = actions_of(plan, rank);
        for (const ActionId i : actions.ids()) {
            if (!computes(actions[i])) continue;
            begin = std::min(begin, times.ranks[rank][i].start);
            end = std::max(end, times.ranks[rank][i].end);
        }
    }
    return end - begin;
}

double measured_bubble(const Plan& plan, const StepTimes& times) {
    const auto ranks = all_ranks(plan);
    std::int64_t all_had_come = std::numeric_limits<std::int64_t>::min(), compute = 0;
    for (const int rank : ranks) {
        const auto& actions = actions_of(plan, rank);
        for (const ActionId i : actions.ids())
            if (actions[i].kind == ActionKind::optimizer_step)
                all_had_come = std::max(all_had_come, times.ranks[rank][i].start);
    }
    for (const int rank : ranks) {
        const auto& actions = actions_of(plan, rank);
        for (const ActionId i : actions.ids()) {
            const ActionTime& time = times.ranks[rank][i];
            if (computes(actions[i]))
                compute += time.end - (actions[i].kind == ActionKind::optimizer_step ? all_had_come : time.start);
        }
    }
    const auto total = static_cast<double>(measured_nanoseconds(plan, times)) * static_cast<double>(ranks.size());
    return total / static_cast<double>(compute) - 1;
}

Durations measured_durations(const Plan& plan, const StepTimes& times) {
    const auto pipeline = pipeline_of(plan, 0, 0);
    const auto began = could_begin(plan, times, pipeline);
    const auto duration = [](std::int64_t from, std::int64_t to) { return std::max<std::int64_t>(0, to - from); };
    std::int64_t all_had_come = std::numeric_limits<std::int64_t>::min();
    for (const StageId stage : plan.training.ids()) {
        const auto& actions = plan.training[stage].actions;
        for (const ActionId i : actions.ids())
            if (actions[i].kind == ActionKind::optimizer_step) all_had_come = std::max(all_had_come, began[stage][i]);
    }

    Durations durations(plan.training.size());
    for (const StageId stage : plan.training.ids()) {
        const auto& actions = plan.training[stage].actions;
        durations[stage].resize(actions.size());
        std::array<std::int64_t, kStreams> copied = {};  // by copy stream: when its last copy ended
        for (const ActionId i : actions.ids()) {
            const std::int64_t end = times.ranks[pipeline[stage]][i].end;
            if (actions[i].kind == ActionKind::optimizer_step)
                durations[stage][i].duration = duration(all_had_come, end);
            else if (computes(actions[i]))
                durations[stage][i].duration = duration(began[stage][i], end);
            else if (actions[i].channel == Channel::data)
                durations[stage][i].latency = duration(began[stage][i], end);
            else if (copies(actions[i])) {
                std::int64_t& before = copied[static_cast<std::size_t>(actions[i].stream)];
                durations[stage][i].duration = duration(std::max(before, began[stage][i]), end);
                before = end;
            }
        }
    }
    for (const auto& [send, receive] : message_ends(plan.training)) {
        const std::int64_t posted = std::max(began[send.stage][send.position], began[receive.stage][receive.position]);
        durations[send.stage][send.position].latency =
            duration(posted, times.ranks[pipeline[receive.stage]][receive.position].end);
    }
    return durations;
}

Rates achieved_rates(const Plan& plan, const ModuleGraph& graph, const Durations& measured) {
    // Slow enough that no duration is rounded away.
    constexpr double kReference = 1e9;
    Rates rates;
    rates.flops_per_second = rates.memory_bytes_per_second = kReference;
    const Durations modelled = modelled_durations(plan, plan.training, graph, rates);
    double compute = 0, modelled_compute = 0, update = 0, modelled_update = 0;
    for (const StageId stage : plan.training.ids()) {
        const auto& actions = plan.training[stage].actions;
        for (const ActionId i : actions.ids()) {
            if (!computes(actions[i])) continue;
            const bool updates = actions[i].kind == ActionKind::optimizer_step;
            (updates ? update : compute) += static_cast<double>(measured[stage][i].duration);
            (updates ? modelled_update : modelled_compute) += static_cast<double>(modelled[stage][i].duration);
        }
    }
    if (compute > 0) rates.flops_per_second *= modelled_compute / compute;
    if (update > 0) rates.memory_bytes_per_second *= modelled_update / update;
    return rates;
}

std::string comparison(const Plan& plan, const ModuleGraph& graph, const StepTimes& times) {
    const Durations measured = measured_durations(plan, times);
    const auto predicted =
        simulate(plan.training, modelled_durations(plan, plan.training, graph, achieved_rates(plan, graph, measured)));
    const std::int64_t simulated = simulate(plan.training, measured).makespan;
    const std::int64_t took = measured_nanoseconds(plan, times);
    // Against the same ideal.
    const double bubble = measured_bubble(plan, times);
    const double simulated_bubble = (1 + bubble) * static_cast<double>(simulated) / static_cast<double>(took) - 1;
    return fmt::format(
        "step {} traced: bubble {:.3f} measured, {:.3f} predicted, {:.3f} simulated from its own times; {:.4g} s "
        "measured, {:.4g} s predicted, {:.4g} s simulated",
        times.step, bubble, predicted.bubble(), simulated_bubble, seconds(took), seconds(predicted.makespan),
        seconds(simulated));
}

}  // namespace smp::partition
