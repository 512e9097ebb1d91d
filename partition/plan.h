// The plan: everything that says who does what, when, with which bytes, as a value that every rank derives from the same inputs.
#pragma once

#include "partition/action.h"
#include "partition/module_graph.h"
#include "partition/options.h"
#include "partition/topology.h"

#include <cstdint>
#include <vector>

namespace smp::partition {

/// A contiguous run of modules on one stage. Chunk i feeds chunk i+1; chunk i lives on stage i mod pp.
struct Chunk {
    int stage = 0;
    int first_module = 0;
    int end_module = 0;  // one past the last

    bool operator==(const Chunk&) const = default;
};

struct Plan {
    Topology topology;
    std::vector<Chunk> chunks;
    int microbatches = 1;
    int active_microbatches = 1;         // the bound K
    int evaluation_microbatches = 1;
    std::vector<RankProgram> training;    // one for each pipeline rank
    std::vector<RankProgram> evaluation;  // forward only, `evaluation_microbatches` of them
    std::vector<RankProgram> sampling;    // forward only, one microbatch
};

/// Builds the whole plan. `graph` holds the costs of one microbatch; `evaluation_microbatches` ≥ 1.
/// Throws ConfigError with all problems found (layers fewer than stages, stage_layers that do not add up, …).
Plan make_plan(const ModuleGraph& graph, const ParallelOptions& options, const Degrees& degrees, int evaluation_microbatches);

/// 64-bit FNV-1a over a canonical text of every field: equal plans have equal hashes on every machine.
std::uint64_t hash_of(const Plan& plan);

/// The number of microbatches that one pipeline rank may hold between forward and backward at the same time in the backward-first order, for bound K:
/// min(K, p − r) for K ≤ p, p − r + min(K − p, p − r − 1) above (DESIGN §4).
int in_flight_limit(int stage, int stages, int active_microbatches);

}  // namespace smp::partition
