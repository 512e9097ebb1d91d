// Plays schedules and programs through with integer costs, independently of the code that made them.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "partition/plan/action.h"

namespace smp::partition::testing {

struct Costs {
    long forward = 1;
    long backward = 2;
    long latency = 0;  // of a message, from when both sides have posted it
    long weight = 1;   // the part of `backward` that makes weight gradients, where it is split

    long of(ComputationKind kind) const {
        switch (kind) {
            case ComputationKind::forward: return forward;
            case ComputationKind::backward: return backward;
            case ComputationKind::backward_input: return backward - weight;
            case ComputationKind::backward_weight: return weight;
        }
        return 0;
    }
    long of(ActionKind kind) const {
        const auto computation = facts_of(kind).computation;
        return computation ? of(*computation) : 0;
    }
};

/// When the last step of `orders` ends, if messages need `latency` and are never held up.
inline long makespan(const ComputeOrders& orders, const Costs& costs) {
    ChunkId last_chunk;
    for (const auto& steps : orders)
        for (const Computation& step : steps) last_chunk = std::max(last_chunk, step.chunk);
    std::map<std::tuple<ComputationKind, MicrobatchId, ChunkId>, long> ends;
    Table<StageId, std::size_t> next(orders.size(), 0);
    Table<StageId, long> free_at(orders.size(), 0);
    for (bool moved = true; moved;) {
        moved = false;
        for (const auto r : orders.ids()) {
            for (; next[r] < orders[r].size(); ++next[r], moved = true) {
                const Computation& step = orders[r][next[r]];
                const bool is_forward = step.kind == ComputationKind::forward;
                long ready = 0;
                if (step.kind == ComputationKind::backward_weight) {
                    const auto source = ends.find({ComputationKind::backward_input, step.microbatch, step.chunk});
                    if (source == ends.end()) break;
                    ready = source->second;
                } else if (is_forward ? step.chunk > ChunkId(0) : true) {
                    const bool turns = !is_forward && step.chunk == last_chunk;
                    const auto source =
                        turns ? ends.find({ComputationKind::forward, step.microbatch, step.chunk})
                              : ends.find({step.kind, step.microbatch, step.chunk + (is_forward ? -1 : 1)});
                    if (source == ends.end()) break;
                    ready = source->second + (turns || orders.size() == 1 ? 0 : costs.latency);
                }
                free_at[r] = std::max(free_at[r], ready) + costs.of(step.kind);
                ends[{step.kind, step.microbatch, step.chunk}] = free_at[r];
            }
        }
    }
    for (const auto r : orders.ids()) {
        if (next[r] != orders[r].size()) throw std::logic_error("the order cannot run to its end");
    }
    return *std::max_element(free_at.begin(), free_at.end());
}

/// When the last compute step of the programs ends: lists are issued in order, posting takes no time, waits block what
/// follows, a message takes `latency` from when both sides have posted it.
inline long makespan(const Programs& programs, const Costs& costs) {
    const std::size_t stages = programs.size();
    Table<StageId, Table<EventId, long>> event_at(stages);
    Table<StageId, Table<ActionId, long>> posted_at(stages);
    std::map<std::tuple<StageId, StageId, Channel>, std::pair<std::vector<ActionId>, std::vector<ActionId>>> pairs;
    for (const StageId r : programs.ids()) {
        event_at[r].assign(static_cast<std::size_t>(programs[r].events), -1);
        posted_at[r].assign(programs[r].actions.size(), -1);
        for (const auto i : programs[r].actions.ids()) {
            const Action& action = programs[r].actions[i];
            if (action.kind == ActionKind::send) pairs[{r, action.peer, action.channel}].first.push_back(i);
            if (action.kind == ActionKind::receive) pairs[{action.peer, r, action.channel}].second.push_back(i);
        }
    }
    Table<StageId, ActionId> next(stages, ActionId(0));
    Table<StageId, long> now(stages, 0);
    long last_step = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (const StageId r : programs.ids()) {
            for (; next[r] < programs[r].actions.end_id(); ++next[r], moved = true) {
                const Action& action = programs[r].actions[next[r]];
                long start = now[r];
                bool is_ready = true;
                for (const EventId wait : action.waits) {
                    const long at = event_at[r][wait];
                    is_ready = is_ready && at >= 0;
                    start = std::max(start, at);
                }
                if (!is_ready) break;
                posted_at[r][next[r]] = start;
                const long end = start + costs.of(action.kind);
                if (end > start) last_step = std::max(last_step, end);
                now[r] = end;
                const bool is_transfer = action.kind == ActionKind::send || action.kind == ActionKind::receive;
                if (action.signals != kNone && !is_transfer) event_at[r][action.signals] = end;
            }
        }
        for (const auto& [key, sides] : pairs) {
            const auto [from, to, channel] = key;
            for (std::size_t n = 0; n < sides.first.size(); ++n) {
                const long sent = posted_at[from][sides.first[n]], received = posted_at[to][sides.second.at(n)];
                if (sent < 0 || received < 0) break;
                const long arrives = std::max(sent, received) + costs.latency;
                long& left = event_at[from][programs[from].actions[sides.first[n]].signals];
                moved = moved || left < 0;
                left = event_at[to][programs[to].actions[sides.second[n]].signals] = arrives;
            }
        }
    }
    for (const StageId r : programs.ids()) {
        if (next[r] != programs[r].actions.end_id()) throw std::logic_error("the programs cannot run to their end");
    }
    return last_step;
}

}  // namespace smp::partition::testing
