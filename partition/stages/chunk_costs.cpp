#include "partition/stages/chunk_costs.h"

#include <algorithm>
#include <numeric>

namespace smp::partition {

ChunkCosts costs_of(const ModuleGraph& graph, int first_module, int end_module) {
    ChunkCosts costs;
    for (int m = first_module; m < end_module; ++m) {
        const Module& module = graph.modules.at(static_cast<std::size_t>(m));
        costs.layers += module.is_layer ? 1 : 0;
        costs.parameter_count += module.parameter_count;
        costs.forward_flops += module.forward_flops;
        costs.backward_flops += module.backward_flops;
        costs.weight_flops += module.weight_flops;
        costs.deferred_bytes += module.deferred_bytes;
        costs.output_bytes = module.output_bytes;
    }
    costs.stash_bytes = kept_bytes(graph, first_module, end_module);
    return costs;
}

ChunkCosts costs_of(const ModuleGraph& graph, const Chunk& chunk) {
    return costs_of(graph, chunk.first_module, chunk.end_module);
}

Table<StageId, double> stage_flops(const ModuleGraph& graph, const Chunks& chunks, int stages) {
    Table<StageId, double> flops(static_cast<std::size_t>(stages), 0);
    for (const Chunk& chunk : chunks) flops.at(chunk.stage) += costs_of(graph, chunk).flops();
    return flops;
}

double imbalance(const Table<StageId, double>& stage_flops) {
    const double sum = std::accumulate(stage_flops.begin(), stage_flops.end(), 0.0);
    if (sum <= 0) return 0;
    return *std::max_element(stage_flops.begin(), stage_flops.end()) * static_cast<double>(stage_flops.size()) / sum -
           1;
}

}  // namespace smp::partition
