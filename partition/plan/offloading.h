// Which checkpointed inputs of a stage leave for host memory, and when they come back. The rule, and why, is told in
// partition/plan/lowering.h.
#pragma once

#include <map>
#include <set>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "partition/plan/chunk_parts.h"

namespace smp::partition {

/// Whose input: microbatch, chunk, group.
using InputKey = std::tuple<MicrobatchId, ChunkId, GroupId>;

struct Offloading {
    std::set<InputKey> leaving = {};
    /// By task of the stage, from 0: what is fetched right ahead of it.
    std::map<int, std::vector<std::pair<Computation, Part>>> fetched_before = {};
};

/// A task is one group's forward, backward or weight part. `horizon` ≥ 1.
Offloading choose_offloads(const Chunks& chunks, std::span<const Computation> computations, int horizon);

}  // namespace smp::partition
