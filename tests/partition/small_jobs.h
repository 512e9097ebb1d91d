// Small chains and jobs for the tests of this room.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "partition/plan/plan.h"

namespace smp::partition::testing {

/// An embedding, `layers` layers, a head; all sizes differ, so that a mixed-up one shows.
inline ModuleGraph chain(int layers, bool tied) {
    ModuleGraph graph;
    const auto add = [&](std::string name, bool is_layer, std::int64_t parameters) {
        const auto i = static_cast<std::int64_t>(graph.modules.size());
        graph.modules.push_back({.name = std::move(name),
                                 .is_layer = is_layer,
                                 .parameter_count = parameters,
                                 .forward_flops = static_cast<double>(100 + i),
                                 .backward_flops = static_cast<double>(200 + 2 * i),
                                 .weight_flops = static_cast<double>(100 + i),
                                 .stash_bytes = 50 + 7 * i,
                                 .deferred_bytes = 40 + 5 * i,
                                 .output_bytes = 64 + 4 * i});
    };
    add("wte", false, 300);
    for (int layer = 0; layer < layers; ++layer) add(fmt::format("h.{}", layer), true, 120 + layer);
    add("lm_head", false, 300);
    graph.modules.back().output_bytes = 0;
    graph.modules.back().logits_bytes = 31;
    if (tied) graph.shared.push_back({.name = "wte.weight", .parameter_count = 290, .modules = {0, layers + 1}});
    return graph;
}

/// The same for two tensor ranks that hold activations by rows, and so long that its gradients are reduced in buckets.
inline ModuleGraph large_chain(int layers, bool tied) {
    ModuleGraph graph = chain(layers, tied);
    for (Module& module : graph.modules) {
        const auto i = static_cast<int>(&module - graph.modules.data());
        module.parameter_count += 3 << 20;
        module.row_gradient_bytes = 4 * (8 + i);
        module.passes.forward.exchange = module.passes.evaluation.exchange = {.rounds = 2, .bytes = 100 + i};
        module.passes.backward.exchange = {.rounds = 3, .bytes = 200 + i};
        module.passes.backward_input.exchange = {.rounds = 2, .bytes = 150};
        module.passes.backward_weight.exchange = {.rounds = 1, .bytes = 50 + i};
    }
    for (SharedParameter& shared : graph.shared) shared.parameter_count += 3 << 20;
    return graph;
}

struct Job {
    int stages = 1;
    int microbatches = 1;
    std::optional<int> active = std::nullopt;
    PipelineSchedule schedule = PipelineSchedule::interleaved;
    bool tied = false;
    int evaluation_microbatches = 1;
    int chunks_per_stage = 1;
};

inline ParallelOptions options_of(const Job& job) {
    ParallelOptions options;
    options.pipeline_parallel_degree = job.stages;
    options.microbatches = job.microbatches;
    options.active_microbatches = job.active;
    options.pipeline = job.schedule;
    options.virtual_pipeline_degree = job.chunks_per_stage;
    return options;
}

inline ParallelOptions options_by_hand(std::vector<int> stage_layers, int microbatches) {
    ParallelOptions options =
        options_of({.stages = static_cast<int>(stage_layers.size()), .microbatches = microbatches});
    options.auto_partition = false;
    options.stage_layers = std::move(stage_layers);
    return options;
}

inline Plan plan_of(const Job& job) {
    return make_plan(chain(job.stages * job.chunks_per_stage + 1, job.tied), options_of(job),
                     {.pp = job.stages, .tp = 1, .rdp = 1}, job.evaluation_microbatches);
}

}  // namespace smp::partition::testing
