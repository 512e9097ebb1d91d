// What a run is about to do, for a person: the rows at its head.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "partition/plan/plan.h"
#include "runtime/job/job.h"

namespace smp::runtime {

/// Rows of name and value. `ranks_are`: "processes", "threads of one process"; `threads`: intra-op threads a rank.
std::vector<std::pair<std::string, std::string>> settings_of(const Job& job, const partition::Plan& plan,
                                                             const std::string& ranks_are, int threads);

}  // namespace smp::runtime
