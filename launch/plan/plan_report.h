// What smp_plan knows about a job: its plan, proven, priced and run by the simulator. One value, shown in several
// formats.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/config/config.h"
#include "partition/foresight/durations.h"
#include "partition/foresight/memory_forecast.h"
#include "partition/foresight/simulator.h"
#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"

namespace smp::launch {

struct PlanReport {
    Config config;
    partition::ModuleGraph graph;  // costs of one microbatch on one rank
    partition::Plan plan;
    std::string proof;             // of the plan
    partition::Rates rates;        // assumed, not measured
    partition::Timeline timeline;  // of one training step, in nanoseconds
    std::vector<std::string> warnings;
};

/// The plan that smp_train would execute on `ranks` ranks, as the trainer makes it, and what it costs. Throws
/// partition::ConfigError, and std::logic_error as proof_of() does.
PlanReport report_on(const Config& config, int ranks);

/// One line about what partition::check has proven of a plan. Throws std::logic_error with all refusals, a line each,
/// if it finds any: a plan that was built and cannot be executed is our mistake.
std::string proof_of(const partition::Plan& plan);

/// The most microbatches that a stage holds at once between forward and backward (or its input part), summed over its
/// chunks.
int peak_microbatches(const partition::RankProgram& program);

std::string to_text(const PlanReport& report);
/// Versioned ("version": 1).
std::string to_json(const PlanReport& report);
/// Chrome trace events: a process a stage.
std::string to_trace(const PlanReport& report);

}  // namespace smp::launch
