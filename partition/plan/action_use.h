// What an action's modules take, pass by pass: memory, and exchange with the tensor group.
#pragma once

#include <cstdint>

#include "partition/job/module_graph.h"
#include "partition/plan/action.h"
#include "partition/plan/chunk_parts.h"

namespace smp::partition {

struct ActionUse {
    std::int64_t scratch = 0;  // the most at once of what its passes make, each until its pass has ended
    std::int64_t growth = 0;   // the most at once on the device beyond what was there when it began
    Exchange exchange = {};    // of all passes
};

/// Of a computation over a part of a chunk. `keeps`: what a forward of training makes for the backward stays; else it
/// goes with each pass. A pass's result goes to the next one, which lets go of it unless it keeps it.
ActionUse use_of(const ModuleGraph& graph, const Part& part, ActionKind kind, bool training, bool keeps);

}  // namespace smp::partition
