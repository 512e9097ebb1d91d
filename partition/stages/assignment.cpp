#include "partition/stages/assignment.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "partition/job/problem.h"

namespace smp::partition {
namespace {

using Wide = __int128;  // products of bytes or FLOPs, ticks and millionths

constexpr std::int64_t kChainTicks = 1'000'000'000;
constexpr std::int64_t kMillion = 1'000'000;

/// weight·part/total of kChainTicks, rounded down.
std::int64_t ticks_of(std::int64_t weight_millionths, std::int64_t part, std::int64_t total) {
    if (total == 0) return 0;
    return static_cast<std::int64_t>(Wide{weight_millionths} * part * kChainTicks / (Wide{total} * kMillion));
}

/// Of each module, that a stage holds at once. In the order for several chunks the first stage holds up to
/// (v − 1)·p + 2(p − 1) + 1 microbatch-chunks (chunked_orders), which is so many of each of its v chunks.
int microbatches_held(const ParallelOptions& options) {
    const int stages = options.pipeline_parallel_degree, chunks = options.virtual_pipeline_degree;
    const int held = chunks == 1 ? stages : stages + (stages - 1 + chunks - 1) / chunks;
    return std::min(active_microbatches(options), held);
}

std::vector<int> first_modules_by_hand(const ModuleGraph& graph, const std::vector<int>& stage_layers) {
    std::vector<int> layers;
    for (std::size_t i = 0; i < graph.modules.size(); ++i) {
        if (graph.modules[i].is_layer) layers.push_back(static_cast<int>(i));
    }
    std::vector<int> first_modules = {0};
    std::size_t taken = 0;
    for (std::size_t chunk = 0; chunk + 1 < stage_layers.size(); ++chunk) {
        taken += static_cast<std::size_t>(stage_layers[chunk]);
        // A cut before the first layer lies just before it; after the last one, just behind it.
        first_modules.push_back(taken < layers.size() ? layers[taken] : layers.back() + 1);
    }
    return first_modules;
}

std::vector<Problem> problems_of_degrees(const ParallelOptions& options, int layers) {
    const int stages = options.pipeline_parallel_degree, degree = options.virtual_pipeline_degree;
    if (layers < stages) {
        return {{"parallel.pipeline_parallel_degree",
                 fmt::format("is {}, but the model has only {} layers; use at most that many stages", stages, layers)}};
    }
    if (layers / stages < degree) {
        return {{"parallel.virtual_pipeline_degree",
                 fmt::format("is {}, which with {} stages makes {} chunks, but the model has only {} layers; use at "
                             "most {} chunks a stage",
                             degree, stages, chunk_count(options), layers, layers / stages)}};
    }
    return {};
}

std::vector<Problem> problems_by_hand(const ParallelOptions& options, int layers) {
    const std::string key = "parallel.stage_layers";
    const std::vector<int>& counts = options.stage_layers;
    const std::string shown = fmt::format("is [{}]", fmt::join(counts, ", "));
    const int chunks = chunk_count(options);
    std::vector<Problem> problems;
    if (static_cast<int>(counts.size()) != chunks) {
        std::string degrees = fmt::format("pipeline_parallel_degree {}", options.pipeline_parallel_degree);
        if (options.virtual_pipeline_degree > 1) {
            degrees += fmt::format(" and virtual_pipeline_degree {}", options.virtual_pipeline_degree);
        }
        problems.push_back(
            {key, fmt::format("{}, which has {} entries; with {} it needs {}", shown, counts.size(), degrees, chunks)});
    }
    if (std::any_of(counts.begin(), counts.end(), [](int n) { return n < 0; })) {
        problems.push_back({key, fmt::format("{}; a chunk has 0 layers or more", shown)});
    } else if (const auto sum = std::accumulate(counts.begin(), counts.end(), std::int64_t{0}); sum != layers) {
        problems.push_back(
            {key, fmt::format("{}, which adds up to {} layers, but the model has {}", shown, sum, layers)});
    }
    return problems;
}

std::vector<Problem> problems_of_chunks(const Chunks& chunks, const ParallelOptions& options) {
    std::vector<Problem> problems;
    for (const ChunkId i : chunks.ids()) {
        if (chunks[i].first_module < chunks[i].end_module) continue;
        problems.push_back({"parallel.stage_layers",
                            fmt::format("is [{}], which leaves chunk {} (stage {}) without any module; give it a layer",
                                        fmt::join(options.stage_layers, ", "), i, chunks[i].stage)});
    }
    return problems;
}

}  // namespace

ChainCosts chain_costs(const ModuleGraph& graph, double memory_weight, int microbatches_held, int checkpointed_layers) {
    const std::int64_t memory_millionths =
        std::llround(std::clamp(memory_weight, 0.0, 1.0) * static_cast<double>(kMillion));
    // What a tied copy saves beside another one: all but the gradient.
    const std::int64_t second_copy_bytes = value_bytes(graph.precision) + optimizer_bytes(graph.precision);
    const std::int64_t state_bytes = second_copy_bytes + kGradientBytes;  // of a parameter
    std::vector<std::int64_t> memory, compute;
    for (const Module& module : graph.modules) {
        const std::int64_t input_bytes = memory.empty() ? 0 : graph.modules[memory.size() - 1].output_bytes;
        const std::int64_t kept =
            checkpointed_layers > 0 ? input_bytes / checkpointed_layers : input_bytes + module.stash_bytes;
        const int forwards = checkpointed_layers > 0 ? 2 : 1;
        memory.push_back(state_bytes * module.parameter_count + microbatches_held * kept);
        compute.push_back(std::llround(forwards * module.forward_flops + module.backward_flops));
    }
    const auto total_memory = std::accumulate(memory.begin(), memory.end(), std::int64_t{0});
    const auto total_compute = std::accumulate(compute.begin(), compute.end(), std::int64_t{0});

    ChainCosts costs;
    for (std::size_t i = 0; i < memory.size(); ++i) {
        costs.module_ticks.push_back(ticks_of(memory_millionths, memory[i], total_memory) +
                                     ticks_of(kMillion - memory_millionths, compute[i], total_compute));
    }
    for (const SharedParameter& shared : graph.shared) {
        costs.shared.push_back(
            {.ticks = ticks_of(memory_millionths, second_copy_bytes * shared.parameter_count, total_memory),
             .modules = shared.modules});
    }
    return costs;
}

Placement placement_of(const Chunks& chunks, int stages) {
    Table<ChunkId, StageId> stage_of;
    for (const Chunk& chunk : chunks) stage_of.push_back(chunk.stage);
    return {stages, std::move(stage_of)};
}

Chunks assign_stages(const ModuleGraph& graph, const ParallelOptions& options) {
    const int stages = options.pipeline_parallel_degree;
    const int modules = static_cast<int>(graph.modules.size());
    const int layers = static_cast<int>(
        std::count_if(graph.modules.begin(), graph.modules.end(), [](const Module& m) { return m.is_layer; }));
    std::vector<Problem> problems = problems_of_degrees(options, layers);
    if (!options.auto_partition) {
        const auto more = problems_by_hand(options, layers);
        problems.insert(problems.end(), more.begin(), more.end());
    }
    if (!problems.empty()) throw ConfigError(std::move(problems));

    const std::vector<int> first_modules =
        options.auto_partition ? cheapest_split(chain_costs(graph, memory_weight(options), microbatches_held(options),
                                                            checkpointed_layers(options)),
                                                stages, options.virtual_pipeline_degree)
                                     .first_modules
                               : first_modules_by_hand(graph, options.stage_layers);
    Chunks chunks;
    const Placement placement = in_turn(stages, options.virtual_pipeline_degree);
    for (const ChunkId chunk : placement.all_chunks()) {
        const std::size_t next = chunk.index() + 1;
        chunks.push_back({.stage = placement.stage_of(chunk),
                          .first_module = first_modules[next - 1],
                          .end_module = next < first_modules.size() ? first_modules[next] : modules});
    }
    problems = problems_of_chunks(chunks, options);
    if (!problems.empty()) throw ConfigError(std::move(problems));
    for (Chunk& chunk : chunks) chunk.groups = checkpoint_groups(graph, chunk, checkpointed_layers(options));
    return chunks;
}

Table<GroupId, int> checkpoint_groups(const ModuleGraph& graph, const Chunk& chunk, int layers_per_group) {
    if (layers_per_group == 0) return {};
    Table<GroupId, int> groups = {chunk.first_module};
    int layers = 0;  // in the group so far
    for (int m = chunk.first_module; m < chunk.end_module; ++m) {
        const bool is_layer = graph.modules[static_cast<std::size_t>(m)].is_layer;
        const bool is_full = layers == layers_per_group, is_behind_layers = !is_layer && layers > 0;
        if (is_full || is_behind_layers) {
            groups.push_back(m);
            layers = 0;
        }
        layers += is_layer ? 1 : 0;
    }
    return groups;
}

}  // namespace smp::partition
