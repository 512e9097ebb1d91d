// Which bytes a program holds at most. No time is needed to know.
#pragma once

#include "partition/plan/action.h"
#include "partition/plan/memory_category.h"

namespace smp::partition {

/// The most of each category on a rank in one run of its program, and of all on the device at once. Buffers are given
/// back when somebody has waited for what frees them (Action::frees), so that this depends on the order of the list
/// alone: whoever runs it holds as much, however long each action takes. Flat buffers are there throughout; so is the
/// own gradient of a second copy of a shared parameter, that of the first is a view.
struct MemoryPeaks {
    MemoryBytes of_category = {};
    std::int64_t device = 0;   // of all but `offloaded`
    MemoryBytes lasting = {};  // what is there throughout
};

/// `program` must pass the checker.
MemoryPeaks memory_peaks(const RankProgram& program);

}  // namespace smp::partition
