// Which stage holds which modules: the chain of modules is cut into contiguous chunks, at best or by hand.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "partition/module_graph.h"
#include "partition/options.h"

namespace smp::partition {

/// A contiguous run of modules on one stage, never empty. Chunk i feeds chunk i + 1; chunk i lives on stage i mod pp.
struct Chunk {
    int stage = 0;
    int first_module = 0;
    int end_module = 0;  // one past the last

    bool operator==(const Chunk&) const = default;
};

/// What a chain costs, in integer ticks: a chunk costs the sum of its modules, less, for each shared parameter of which
/// it holds n ≥ 2 modules, n − 1 times what the second copy would have cost.
struct ChainCosts {
    struct Shared {
        std::int64_t ticks = 0;    // of one copy
        std::vector<int> modules;  // ascending
    };
    std::vector<std::int64_t> module_ticks;  // with a copy of every shared parameter that the module uses
    std::vector<Shared> shared;

    std::int64_t of(int first_module, int end_module) const;
};

/// memory_weight·memory/total + (1 − memory_weight)·compute/total of each module, where the whole chain is 10⁹ ticks.
/// Memory is 16 bytes a parameter (fp32 value, gradient and two moments; a tied copy on the same chunk needs only the
/// gradient) and the stash of the microbatches that the first stage holds at once; compute is forward and backward
/// FLOPs. Integer arithmetic but for rounding FLOPs and the weight (to millionths): equal on every machine.
ChainCosts chain_costs(const ModuleGraph& graph, double memory_weight, int microbatches_held);

/// First module of each chunk of the cheapest split into `chunks` non-empty runs: the least largest chunk first, then
/// the least sum of squares, then the earliest cuts. Exact, O(chunks·modules²). At least as many modules as chunks.
std::vector<int> cheapest_split(const ChainCosts& costs, int chunks);

/// The chunks of a job, one for each stage, automatic or by `stage_layers`, where what precedes the first layer
/// (embedding) goes to the first chunk, and what follows a layer up to the next one (head) stays with it.
/// Throws ConfigError with all problems: fewer layers than stages, `stage_layers` with another number of entries than
/// stages, with another sum than layers, with an entry below 0, or that leaves a stage without any module.
std::vector<Chunk> assign_stages(const ModuleGraph& graph, const ParallelOptions& options);

}  // namespace smp::partition
