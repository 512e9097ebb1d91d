// smp_plan --format json, summary and trace: the report for programs.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/plan/plan_report.h"
#include "partition/stages/chunk_costs.h"
#include "runtime/records/plan_json.h"
#include "runtime/records/trace_events.h"

namespace smp::launch {

namespace {

using Json = nlohmann::ordered_json;

constexpr double kSecondsPerTick = 1e-9;

double seconds_of(std::int64_t ticks) { return kSecondsPerTick * static_cast<double>(ticks); }

Json chunks_of(const PlanReport& report) {
    Json list = Json::array();
    for (const partition::Chunk& chunk : report.plan.chunks) {
        const partition::ChunkCosts costs = partition::costs_of(report.graph, chunk);
        list.push_back({{"stage", chunk.stage},
                        {"layers", costs.layers},
                        {"parameters", costs.parameter_count},
                        {"forward_flops", costs.forward_flops},
                        {"backward_flops", costs.backward_flops},
                        {"weight_flops", costs.weight_flops},
                        {"stash_bytes", costs.stash_bytes},
                        {"output_bytes", costs.output_bytes}});
    }
    return list;
}

Json prediction_of(const PlanReport& report) {
    const partition::Timeline& timeline = report.timeline;
    Json stages = Json::array();
    for (const partition::StageId stage : timeline.stages.ids()) {
        const partition::StageTime& time = timeline.stages[stage];
        const auto memory = partition::memory_forecast(report.plan, report.graph, stage);
        Json categories;
        for (std::size_t i = 0; i < partition::kMemoryCategories; ++i)
            categories[std::string(partition::Words<partition::MemoryCategory>::list[i])] = memory.peak[i];
        stages.push_back({{"compute_seconds", seconds_of(time.compute)},
                          {"exposed_seconds", seconds_of(time.exposed)},
                          {"bubble_seconds", seconds_of(time.bubble)},
                          {"peak_microbatches", peak_microbatches(report.plan.training[stage])},
                          {"peak_bytes", memory.device_peak},
                          {"peak_bytes_by_category", categories}});
        if (report.plan.evaluates)
            stages.back()["evaluation_peak_bytes"] =
                partition::evaluation_forecast(report.plan, report.graph, stage).device_peak;
    }
    return {{"step_seconds", seconds_of(timeline.makespan)}, {"bubble", timeline.bubble()}, {"stages", stages}};
}

}  // namespace

std::string to_json(const PlanReport& report, runtime::PlanPart part) {
    const Json json{{"version", 1},
                    {"chunks", chunks_of(report)},
                    {"prediction", prediction_of(report)},
                    {"warnings", report.warnings},
                    {"notes", report.notes}};
    std::string text = json.dump(1);
    text.erase(text.rfind('\n'));  // the object goes on
    const auto write = [&](std::string_view piece) { text += piece; };
    text += ",\n \"rates\": ";
    runtime::FieldsToJson rates(write);
    rates.add(report.rates);
    rates.flush();
    text += ",\n \"plan\": ";
    runtime::write_plan(report.plan, report.graph, write, part, /*depth=*/1);
    return text + "\n}\n";
}

std::string to_trace(const PlanReport& report) {
    runtime::Trace trace;
    trace.tracks = runtime::action_tracks();
    trace.facts = {{"what", "predicted by smp_plan"},
                   {"plan", fmt::format("{:016x}", partition::hash_of(report.plan))}};
    for (const partition::StageId stage : report.plan.training.ids()) {
        trace.processes.push_back(fmt::format("stage {}", stage));
        const auto& actions = report.plan.training[stage].actions;
        for (const partition::ActionId i : actions.ids()) {
            const partition::ActionSpan& run = report.timeline.spans[stage][i];
            runtime::TraceSpan span = runtime::span_of(actions[i]);
            span.process = stage.number();
            span.start_ns = run.start;
            span.duration_ns = run.end - run.start;
            trace.spans.push_back(std::move(span));
        }
    }
    std::string text;
    runtime::write_trace(trace, [&](std::string_view piece) { text += piece; });
    return text;
}

}  // namespace smp::launch
