// Rules between the sections of a job, which no section can see alone. No LibTorch: smp_plan applies them too.
#pragma once

#include <vector>

#include "partition/job/problem.h"
#include "runtime/job/job.h"

namespace smp::runtime {

/// What the sections say against each other on any number of ranks: heads and MLP width that tensor parallelism does
/// not divide, or tokens where it cuts those too, a sequence longer than the model's positions, layers that cannot be
/// assigned to stages, evaluation without data, … Each message names all keys that it is about. A rule about a value
/// that its own section refuses says nothing useful, but does no harm.
std::vector<partition::Problem> validate_job(const Job& job);

/// What speaks against running the job on `world` ranks: the layout does not fit, or the global batch does not divide.
/// Empty if it can.
std::vector<partition::Problem> validate_job_on(const Job& job, std::int64_t world);

}  // namespace smp::runtime
