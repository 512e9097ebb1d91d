// From a job to its plan: the one place that knows it, for the trainer, smp_train and smp_plan alike. No LibTorch.
#pragma once

#include <string>
#include <vector>

#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"
#include "runtime/job/job.h"

namespace smp::runtime {

/// The model's modules with the costs of one microbatch on one rank of `world` ranks, which are threads of one process
/// (Transport::shared_memory) or not. The job must be valid on that
/// world (validate_job, validate_job_on).
partition::ModuleGraph graph_of(const Job& job, int world,
                                partition::Transport transport = partition::Transport::shared_memory);

/// The job's plan on `world` ranks; evaluation, where the job has one, is cut into microbatches as training is. Throws
/// ConfigError as make_plan does. Where NCCL adds gradients itself (ranks with a CUDA device each, but for
/// training.deterministic) none of its reductions has scratch.
partition::Plan plan_of(const Job& job, int world,
                        partition::Transport transport = partition::Transport::shared_memory);

/// What keeps a plan from being executed in place of plan_of(job, world, transport): what partition::check finds,
/// or that it is one of another model, other degrees, other microbatches. How the work is cut and ordered is the plan's
/// business.
std::vector<std::string> faults_of(const partition::Plan& plan, const Job& job, int world,
                                   partition::Transport transport = partition::Transport::shared_memory);

}  // namespace smp::runtime
