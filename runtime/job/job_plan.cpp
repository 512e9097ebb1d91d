#include "runtime/job/job_plan.h"

#include <fmt/format.h>

#include "models/model_spec.h"
#include "partition/check/checker.h"
#include "partition/plan/library_sums.h"

namespace smp::runtime {

namespace {

/// Whether numbers of 32 bits are added by NCCL itself, which takes no memory of the rank's for that: as the trainer
/// makes its groups (comms::NcclSums).
bool adds_natively(const Job& job, partition::Transport transport) {
    return job.cluster.device == partition::Device::cuda && transport == partition::Transport::messages &&
           !job.training.deterministic;
}

}  // namespace

partition::ModuleGraph graph_of(const Job& job, int world, partition::Transport transport) {
    const partition::Degrees degrees = partition::degrees_in(job.parallel, world);
    const models::ActivationStorage storage = models::storage_of(job.parallel, job.cluster.device);
    // Sums of activations of 32 bits are like those of threads then; maxima are not, but have one number a row.
    if (adds_natively(job, transport) && storage.precision == partition::Precision::fp32)
        transport = partition::Transport::shared_memory;
    const std::int64_t sequences =
        global_batch(job.training, job.parallel, degrees.rdp) / degrees.rdp / job.parallel.microbatches;
    return models::module_graph(*job.model.spec,
                                {.tensor_degree = degrees.tp,
                                 .sequences = sequences,
                                 .length = sequence_length(job.training, job.model.spec->longest_sequence()),
                                 .storage = storage,
                                 .transport = transport});
}

partition::Plan plan_of(const Job& job, int world, partition::Transport transport) {
    const partition::ModuleGraph graph = graph_of(job, world, transport);
    const partition::Degrees degrees = partition::degrees_in(job.parallel, world);
    const int of_evaluation = job.parallel.microbatches;
    partition::Plan plan =
        adds_natively(job, transport)
            ? partition::make_plan_for_library_sums(graph, job.parallel, degrees, of_evaluation)
            : partition::make_plan(graph, job.parallel, degrees, of_evaluation, /*measured=*/{}, transport);
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
    const bool wants_scratch =
        wanted.rdp > 1 && transport == partition::Transport::messages && !adds_natively(job, transport);
    if (wants_scratch && !has_reduction_scratch(plan))
        faults.emplace_back("its reductions of gradients have no room for the terms of others");
    return faults;
}

}  // namespace smp::runtime
