// Plays a pipeline through with integer costs: each stage takes the best of the steps that are ready, and what it takes
// becomes its order. The engine behind every schedule that is more than a loop.
#pragma once

#include <cstdint>
#include <vector>

#include "partition/schedule/schedule.h"
#include "partition/stages/placement.h"

namespace smp::partition {

/// One microbatch on one of a stage's own chunks, numbered 0, 1, … on each stage.
struct Visit {
    MicrobatchId microbatch = {};
    int own_chunk = 0;

    bool operator==(const Visit&) const = default;
};

/// What stages may do. A stage that is free takes the next of `backwards` if it can run, else the next of `forwards` if
/// it can run and the limits allow it (the other way round with `forward_first`). Where the backward is split, the
/// oldest weight part comes before a step that would go over `bytes_limit`, and otherwise when nothing else can run.
struct SchedulingRules {
    Placement placement = in_turn(1);  // as many chunks on each stage
    int microbatches = 1;
    std::vector<Visit> forwards = {};   // in this order on each stage
    std::vector<Visit> backwards = {};  // likewise
    bool forward_first = false;
    bool split_backward = false;
    CostsOfChunks costs = {};  // at least one tick each
    int active_limit = 1;      // microbatches between their first forward and last backward (or input part), on stage 0
    Table<StageId, int> held_limit = {};            // visits between forward and backward
    Table<StageId, std::int64_t> bytes_limit = {};  // where the backward is split
};

struct ListSchedule {
    ComputeOrders orders;
    std::int64_t makespan = 0;  // ticks; messages take no time
};

/// Deterministic. Throws std::logic_error if the rules bring the pipeline to a stop.
ListSchedule schedule_by_list(const SchedulingRules& rules);

}  // namespace smp::partition
