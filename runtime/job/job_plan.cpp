#include "runtime/job/job_plan.h"

#include <fmt/format.h>

#include "models/model_spec.h"
#include "partition/check/checker.h"

namespace smp::runtime {

partition::ModuleGraph graph_of(const Job& job, int world, partition::Transport transport) {
    const partition::Degrees degrees = partition::degrees_in(job.parallel, world);
    const std::int64_t sequences =
        global_batch(job.training, job.parallel, degrees.rdp) / degrees.rdp / job.parallel.microbatches;
    return models::module_graph(*job.model.spec,
                                {.tensor_degree = degrees.tp,
                                 .sequences = sequences,
                                 .length = sequence_length(job.training, job.model.spec->longest_sequence()),
                                 .storage = models::storage_of(job.parallel, job.cluster.device),
                                 .transport = transport});
}

partition::Plan plan_of(const Job& job, int world, partition::Transport transport) {
    partition::Plan plan =
        partition::make_plan(graph_of(job, world, transport), job.parallel, partition::degrees_in(job.parallel, world),
                             /*evaluation_microbatches=*/job.parallel.microbatches, /*measured=*/{}, transport);
    plan.evaluates = job.training.evaluate_every > 0;
    return plan;
}

std::vector<std::string> faults_of(const partition::Plan& plan, const Job& job, int world,
                                   partition::Transport transport) {
    auto faults = partition::check(plan, graph_of(job, world, plan.transport));
    const auto require = [&](const char* what, auto stated, auto wanted) {
        if (stated != wanted) faults.push_back(fmt::format("its {} {}, the job's {}", what, stated, wanted));
    };
    const partition::Degrees own = plan.topology.degrees, wanted = partition::degrees_in(job.parallel, world);
    require("pipeline degree is", own.pp, wanted.pp);
    require("tensor degree is", own.tp, wanted.tp);
    require("reduced data-parallel degree is", own.rdp, wanted.rdp);
    require("microbatches are", plan.microbatches, job.parallel.microbatches);
    require("ranks reach each other by", word_of(plan.transport), word_of(transport));
    require("microbatches of an evaluation are", plan.evaluation_microbatches, job.parallel.microbatches);
    return faults;
}

}  // namespace smp::runtime
