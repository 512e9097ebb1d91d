// The executed plan as JSON: plan.json, for people and tools.
#pragma once

#include <string>
#include <vector>

#include "partition/plan/plan.h"

namespace smp::runtime {

/// Versioned ("version": 1). Holds the hash, the degrees and placement, the schedule, the chunks with the names of
/// their modules, and the programs of all pipeline ranks, action by action. `module_names` are those of the graph that
/// the plan was made from. Equal plans give equal text.
std::string plan_to_json(const partition::Plan& plan, const std::vector<std::string>& module_names);

}  // namespace smp::runtime
