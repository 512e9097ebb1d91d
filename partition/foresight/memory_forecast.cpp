#include "partition/foresight/memory_forecast.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "partition/foresight/memory_peaks.h"

namespace smp::partition {

namespace {

constexpr auto kOptimizer = static_cast<std::size_t>(MemoryCategory::optimizer);

/// Of its flat buffers.
std::int64_t elements_of(const Plan& plan, const ModuleGraph& graph, StageId stage) {
    std::int64_t bytes = 0;
    for (const Buffer& buffer : plan.training[stage].buffers)
        if (buffer.kind == BufferKind::parameters) bytes += buffer.bytes;
    return bytes / value_bytes(graph.precision);
}

std::string listed(const MemoryBytes& bytes) {
    std::string all;
    for (std::size_t c = 0; c < bytes.size(); ++c)
        if (bytes[c] > 0)
            all +=
                fmt::format("{}{} {}", all.empty() ? "" : ", ", Words<MemoryCategory>::list[c], shown_bytes(bytes[c]));
    return all;
}

/// Unsharded.
std::int64_t all_optimizer_bytes(const Plan& plan, const ModuleGraph& graph, StageId stage) {
    return optimizer_bytes(graph.precision) * elements_of(plan, graph, stage);
}

}  // namespace

std::int64_t optimizer_bytes(const Plan& plan, const ModuleGraph& graph, StageId stage) {
    const std::int64_t shards = plan.shard_optimizer_state ? plan.topology.degrees.rdp : 1;
    return (all_optimizer_bytes(plan, graph, stage) + shards - 1) / shards;
}

MemoryForecast memory_forecast(const Plan& plan, const ModuleGraph& graph, StageId stage) {
    const MemoryPeaks peaks = memory_peaks(plan.training[stage]);
    MemoryForecast forecast{.peak = peaks.of_category, .device_peak = peaks.device};
    forecast.peak[kOptimizer] = optimizer_bytes(plan, graph, stage);
    forecast.device_peak += forecast.peak[kOptimizer];
    return forecast;
}

MemoryForecast evaluation_forecast(const Plan& plan, const ModuleGraph& graph, StageId stage) {
    const MemoryPeaks step = memory_peaks(plan.training[stage]), own = memory_peaks(plan.evaluation[stage]);
    MemoryForecast forecast{.peak = own.of_category, .device_peak = own.device};
    for (std::size_t c = 0; c < kMemoryCategories; ++c) {
        forecast.peak[c] += step.lasting[c] - own.lasting[c];
        forecast.device_peak += step.lasting[c] - own.lasting[c];
    }
    // Host memory for what leaves is taken once, for all steps.
    constexpr auto kOffloaded = static_cast<std::size_t>(MemoryCategory::offloaded);
    forecast.peak[kOffloaded] = step.of_category[kOffloaded];
    forecast.peak[kOptimizer] = optimizer_bytes(plan, graph, stage);
    forecast.device_peak += forecast.peak[kOptimizer];
    return forecast;
}

std::optional<std::int64_t> memory_limit(const ClusterOptions& cluster) {
    if (!cluster.memory_limit_gib) return std::nullopt;
    return std::llround(*cluster.memory_limit_gib * static_cast<double>(std::int64_t{1} << 30));
}

std::optional<std::string> misfit(const Plan& plan, const ModuleGraph& graph, std::int64_t limit_bytes) {
    const std::int64_t replicas = plan.topology.degrees.rdp;
    StageId largest(0);
    MemoryForecast most;
    std::int64_t ranks =
        1;  // data-parallel ranks over which optimizer states would have to be sharded; 0: no number does
    for (const StageId stage : plan.training.ids()) {
        MemoryForecast forecast = memory_forecast(plan, graph, stage);
        if (plan.evaluates) {
            const MemoryForecast evaluation = evaluation_forecast(plan, graph, stage);
            if (evaluation.device_peak > forecast.device_peak) forecast = evaluation;
        }
        // Optimizer states alone get smaller.
        const std::int64_t room = limit_bytes - (forecast.device_peak - forecast.peak[kOptimizer]);
        const std::int64_t states = all_optimizer_bytes(plan, graph, stage);
        ranks = ranks == 0 || room <= 0 ? 0 : std::max(ranks, (states + room - 1) / room);
        if (forecast.device_peak <= most.device_peak) continue;
        largest = stage;
        most = forecast;
    }
    if (most.device_peak <= limit_bytes) return std::nullopt;
    std::string text = fmt::format(
        "the job does not fit: a rank of stage {} needs {} (at their peaks: {}), and cluster.memory_limit_gib allows "
        "{}; ",
        largest, shown_bytes(most.device_peak), listed(most.peak), shown_bytes(limit_bytes));
    if (ranks > 0) {
        text += fmt::format("with optimizer states sharded over {} data-parallel ranks it would, and there {} {}",
                            ranks, replicas == 1 ? "is" : "are", replicas);
        if (!plan.shard_optimizer_state && replicas > 1) text += " (parallel.shard_optimizer_state is off)";
    } else {
        text +=
            "cut the model over more ranks, lower parallel.active_microbatches or the batch, or see "
            "parallel.activation_checkpointing";
    }
    return text;
}

std::string memory_comparison(const Plan& plan, const ModuleGraph& graph, StageId stage, const MemoryUse& use) {
    const MemoryForecast forecast = memory_forecast(plan, graph, stage);
    std::string text = fmt::format("memory of a rank of stage {}: {} at most, {} predicted", stage,
                                   shown_bytes(use.device_peak), shown_bytes(forecast.device_peak));
    for (std::size_t c = 0; c < use.peak.size(); ++c) {
        if (use.peak[c] == 0 && forecast.peak[c] == 0) continue;
        const std::string measured = shown_bytes(use.peak[c]), predicted = shown_bytes(forecast.peak[c]);
        text += fmt::format("; {} {}", Words<MemoryCategory>::list[c], measured);
        if (measured != predicted) text += fmt::format(" ({} predicted)", predicted);
    }
    return text;
}

}  // namespace smp::partition
