// What chunks and stages come to: the costs of their modules, added.
#pragma once

#include <cstdint>
#include <vector>

#include "partition/job/module_graph.h"
#include "partition/stages/assignment.h"

namespace smp::partition {

/// Of one rank and, where they depend on it, one microbatch. A shared parameter counts once for each of its modules, as
/// it does in memory.
struct ChunkCosts {
    int layers = 0;
    std::int64_t parameter_count = 0;
    double forward_flops = 0;
    double backward_flops = 0;     // all of it
    double weight_flops = 0;       // the part of backward_flops that makes weight gradients
    std::int64_t stash_bytes = 0;  // its input is not among it
    std::int64_t deferred_bytes = 0;
    std::int64_t output_bytes = 0;  // handed to the next chunk; 0 after the last

    double flops() const { return forward_flops + backward_flops; }
    double input_flops() const { return backward_flops - weight_flops; }  // the other part of backward_flops
};

/// Of the modules [first_module, end_module): a chunk, or a group of one.
ChunkCosts costs_of(const ModuleGraph& graph, int first_module, int end_module);
ChunkCosts costs_of(const ModuleGraph& graph, const Chunk& chunk);

/// FLOPs of a microbatch, forward and backward, on each stage.
Table<StageId, double> stage_flops(const ModuleGraph& graph, const Chunks& chunks, int stages);

/// How much more the busiest stage has to do than the mean one, as a fraction of the mean: what all others wait for.
double imbalance(const Table<StageId, double>& stage_flops);

}  // namespace smp::partition
