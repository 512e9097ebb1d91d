// From a job to its plan: the one place that knows it, for the trainer, smp_train and smp_plan alike. No LibTorch.
#pragma once

#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"
#include "runtime/job/job.h"

namespace smp::runtime {

/// The model's modules with the costs of one microbatch on one rank of `world` ranks. The job must be valid on that
/// world (validate_job, validate_job_on).
partition::ModuleGraph graph_of(const Job& job, int world);

/// The job's plan on `world` ranks; evaluation is cut into microbatches as training is. Throws ConfigError as make_plan
/// does.
partition::Plan plan_of(const Job& job, int world);

}  // namespace smp::runtime
