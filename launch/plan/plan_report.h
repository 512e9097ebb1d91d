// What smp_plan knows about a job, or a saved plan: the plan, proven, priced and run by the simulator. One value, shown
// in several formats.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/config/config.h"
#include "partition/foresight/durations.h"
#include "partition/foresight/memory_forecast.h"
#include "partition/foresight/simulator.h"
#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"
#include "runtime/records/plan_json.h"

namespace smp::launch {

struct PlanReport {
    std::optional<Config> config;  // of the job; a saved plan has none
    partition::ModuleGraph graph;  // costs of one microbatch on one rank
    partition::Plan plan;
    std::string proof;             // of the plan
    partition::Rates rates;        // assumed, not measured
    partition::Timeline timeline;  // of one training step, in nanoseconds
    std::vector<std::string> warnings;
    std::vector<std::string> notes;
};

/// The plan that smp_train would execute on `ranks` ranks, as the trainer makes it, and what it costs. `transport`: how
/// these reach each other; none: as processes where the job has several nodes, else as threads. Throws
/// partition::ConfigError, and std::logic_error as proof_of() does.
PlanReport report_on(const Config& config, int ranks, std::optional<partition::Transport> transport = {});

/// A plan that was read from `origin`. What only the job says is not known: tokens, nodes, options, and the warnings
/// about them. Throws runtime::DataError as proof_of() does.
PlanReport report_on(runtime::SavedPlan saved, const std::string& origin);

/// One line about what partition::check has proven of a plan. Throws std::logic_error with all refusals, a line each,
/// if it finds any: a plan that was built and cannot be executed is our mistake.
std::string proof_of(const partition::Plan& plan);
/// The same of a plan that was read from `origin`: throws runtime::DataError, since it is the file that is wrong.
std::string proof_of(const runtime::SavedPlan& saved, const std::string& origin);

/// The most microbatches that a stage holds at once between forward and backward (or its input part), summed over its
/// chunks.
int peak_microbatches(const partition::RankProgram& program);

std::string to_text(const PlanReport& report);
/// Versioned ("version": 1). The plan in it is as in plan.json.
std::string to_json(const PlanReport& report, runtime::PlanPart part = runtime::PlanPart::all);
/// Chrome trace events: a process a stage.
std::string to_trace(const PlanReport& report);

}  // namespace smp::launch
