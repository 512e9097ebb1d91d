// What one action computes of a chunk: all of it, or one of the groups in which it is recomputed.
#pragma once

#include <vector>

#include "partition/schedule/schedule.h"
#include "partition/stages/assignment.h"

namespace smp::partition {

struct Part {
    GroupId group = {};
    int first_module = 0, end_module = 0;
    bool is_first = true, is_last = true;  // of the chunk
};

/// In ascending order of modules. A forward-only program has no groups.
std::vector<Part> parts_of(const Chunk& chunk, bool training);

/// In the order in which a computation of that kind takes them: backwards start with the last.
std::vector<Part> parts_in_order(const Chunk& chunk, bool training, ComputationKind kind);

}  // namespace smp::partition
