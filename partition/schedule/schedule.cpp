#include "partition/schedule/schedule.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "partition/schedule/list_scheduling.h"

namespace smp::partition {
namespace {

void require_positive(int stages, int microbatches, int active_microbatches) {
    if (stages < 1 || microbatches < 1 || active_microbatches < 1) {
        throw std::logic_error(
            fmt::format("schedule: {} stages, {} microbatches, {} of them active; each is at least 1", stages,
                        microbatches, active_microbatches));
    }
}

/// One entry a chunk, none of them without time: a step that takes none could start before what it needs was seen.
CostsOfChunks costs_of(CostsOfChunks costs, int chunks) {
    if (!costs.empty() && costs.size() != static_cast<std::size_t>(chunks)) {
        throw std::logic_error(fmt::format("schedule: costs of {} chunks for {}", costs.size(), chunks));
    }
    costs.resize(static_cast<std::size_t>(chunks));
    for (ComputationCosts& cost : costs) {
        cost.forward = std::max<std::int64_t>(cost.forward, 1);
        cost.backward_input = std::max<std::int64_t>(cost.backward_input, 1);
        cost.backward_weight = std::max<std::int64_t>(cost.backward_weight, 1);
    }
    return costs;
}

/// Groups of microbatches pass a stage's chunks one after the other; `downwards`: its first chunk first.
std::vector<Visit> visits(std::span<const int> groups, int chunks_per_stage, bool downwards) {
    std::vector<Visit> list;
    int first = 0;
    for (const int size : groups) {
        for (int i = 0; i < chunks_per_stage; ++i) {
            const int own_chunk = downwards ? i : chunks_per_stage - 1 - i;
            for (int microbatch = first; microbatch < first + size; ++microbatch)
                list.push_back({MicrobatchId(microbatch), own_chunk});
        }
        first += size;
    }
    return list;
}

/// The ways to cut m microbatches into groups that are worth a try: what is left over of whole groups of p spread
/// evenly over them, all in the first one, or (best where K leaves no room for larger groups) in a last one of its own.
std::vector<std::vector<int>> groupings(int microbatches, int stages) {
    const int groups = std::max(1, microbatches / stages);
    const int left_over = microbatches - std::min(groups * stages, microbatches);
    std::vector<int> first(static_cast<std::size_t>(groups), std::min(stages, microbatches)), even = first;
    first.front() += left_over;
    for (int i = 0; i < left_over; ++i) ++even[static_cast<std::size_t>(i % groups)];
    if (left_over == 0) return {first};
    std::vector<int> last(static_cast<std::size_t>(groups), stages);
    last.push_back(left_over);
    return {even, first, last};
}

/// Backward-first rules for one chunk a stage.
SchedulingRules backward_first_rules(int stages, int microbatches, int active_microbatches,
                                     const CostsOfChunks& costs) {
    require_positive(stages, microbatches, active_microbatches);
    const int active = std::min(active_microbatches, microbatches);
    const int group[] = {microbatches};
    SchedulingRules rules{.placement = in_turn(stages),
                          .microbatches = microbatches,
                          .forwards = visits(group, 1, true),
                          .backwards = visits(group, 1, false),
                          .costs = costs_of(costs, stages),
                          .active_limit = active};
    for (const StageId r : first_ids<StageId>(stages)) rules.held_limit.push_back(in_flight_limit(r, stages, active));
    return rules;
}

}  // namespace

int in_flight_limit(StageId stage, int stages, int active_microbatches) {
    const int from_the_end = stages - stage.number();
    if (active_microbatches <= stages) return std::min(active_microbatches, from_the_end);
    return from_the_end + std::min(active_microbatches - stages, from_the_end - 1);
}

ComputeOrders simple_orders(int stages, int microbatches) {
    require_positive(stages, microbatches, microbatches);
    ComputeOrders orders = forward_only_orders(stages, microbatches);
    for (const StageId stage : orders.ids()) {
        for (const MicrobatchId microbatch : first_ids<MicrobatchId>(microbatches))
            orders[stage].push_back({ComputationKind::backward, microbatch, ChunkId(stage.number())});
    }
    return orders;
}

ComputeOrders interleaved_orders(int stages, int microbatches, int active_microbatches, const CostsOfChunks& costs) {
    return schedule_by_list(backward_first_rules(stages, microbatches, active_microbatches, costs)).orders;
}

int chunked_limit(StageId stage, int stages, int chunks_per_stage, int largest_group) {
    return (chunks_per_stage - 1) * largest_group + 2 * (stages - stage.number() - 1) + 1;
}

int largest_chunked_group(int stages, int microbatches) {
    return microbatches < stages ? microbatches : stages + microbatches % stages;
}

ComputeOrders chunked_orders(int stages, int chunks_per_stage, int microbatches, int active_microbatches,
                             const CostsOfChunks& costs) {
    require_positive(stages, microbatches, active_microbatches);
    const int active = std::min(active_microbatches, microbatches);
    if (chunks_per_stage < 1 || active < std::min(microbatches, 2 * stages)) {
        throw std::logic_error(fmt::format(
            "schedule: {} chunks a stage with {} of {} microbatches active on {} stages; chunks need min(microbatches, "
            "2 · stages) of them active",
            chunks_per_stage, active, microbatches, stages));
    }
    SchedulingRules rules{.placement = in_turn(stages, chunks_per_stage),
                          .microbatches = microbatches,
                          .forward_first = true,
                          .costs = costs_of(costs, stages * chunks_per_stage),
                          .active_limit = active};
    ListSchedule best;
    for (const std::vector<int>& groups : groupings(microbatches, stages)) {
        rules.forwards = visits(groups, chunks_per_stage, true);
        rules.backwards = visits(groups, chunks_per_stage, false);
        rules.held_limit.clear();
        for (const StageId r : first_ids<StageId>(stages)) {
            rules.held_limit.push_back(chunked_limit(r, stages, chunks_per_stage, groups.front()));
        }
        ListSchedule scheduled = schedule_by_list(rules);
        if (best.orders.empty() || scheduled.makespan < best.makespan) best = std::move(scheduled);
    }
    return std::move(best.orders);
}

ComputeOrders zero_bubble_orders(int stages, int microbatches, int active_microbatches, const CostsOfChunks& costs) {
    SchedulingRules rules = backward_first_rules(stages, microbatches, active_microbatches, costs);
    rules.forward_first = rules.split_backward = true;
    for (const StageId r : first_ids<StageId>(stages))
        rules.bytes_limit.push_back(zero_bubble_bound(r, stages, rules.active_limit, rules.costs[ChunkId(r.number())]));
    return schedule_by_list(rules).orders;
}

std::int64_t zero_bubble_bound(StageId stage, int stages, int active_microbatches, const ComputationCosts& costs) {
    const std::int64_t fullest = in_flight_limit(StageId(0), stages, active_microbatches);
    const std::int64_t held = in_flight_limit(stage, stages, active_microbatches);
    // Where a backward leaves more than it takes, the in-flight microbatches alone could go over the first term.
    return std::max(fullest * costs.stash_bytes,
                    (held - 1) * costs.stash_bytes + std::max(costs.stash_bytes, costs.deferred_bytes));
}

ComputeOrders forward_only_orders(int stages, int microbatches, int chunks_per_stage) {
    require_positive(stages, microbatches, 1);
    std::vector<int> groups(static_cast<std::size_t>(microbatches / stages), stages);
    if (microbatches % stages != 0) groups.push_back(microbatches % stages);
    const Placement placement = in_turn(stages, chunks_per_stage);
    ComputeOrders orders(static_cast<std::size_t>(stages));
    for (const StageId stage : orders.ids()) {
        for (const Visit& visit : visits(groups, chunks_per_stage, true)) {
            const ChunkId chunk = placement.chunks_of(stage)[static_cast<std::size_t>(visit.own_chunk)];
            orders[stage].push_back({ComputationKind::forward, visit.microbatch, chunk});
        }
    }
    return orders;
}

ComputeOrders training_orders(PipelineSchedule schedule, const ScheduledJob& job, const CostsOfChunks& costs,
                              const CostsOfChunks& measured) {
    switch (schedule) {
        case PipelineSchedule::simple: return simple_orders(job.stages, job.microbatches);
        case PipelineSchedule::interleaved:
            return job.chunks_per_stage > 1
                       ? chunked_orders(job.stages, job.chunks_per_stage, job.microbatches, job.active_microbatches,
                                        measured)
                       : interleaved_orders(job.stages, job.microbatches, job.active_microbatches, measured);
        case PipelineSchedule::zero_bubble:
            return zero_bubble_orders(job.stages, job.microbatches, job.active_microbatches, costs);
    }
    throw std::logic_error("schedule: no such schedule");
}

}  // namespace smp::partition
