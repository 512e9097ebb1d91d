#include "runtime/job/job_plan.h"

#include "models/model_spec.h"

namespace smp::runtime {

partition::ModuleGraph graph_of(const Job& job, int world) {
    const partition::Degrees degrees = partition::degrees_in(job.parallel, world);
    const std::int64_t sequences =
        global_batch(job.training, job.parallel, degrees.rdp) / degrees.rdp / job.parallel.microbatches;
    return models::module_graph(*job.model.spec,
                                {.tensor_degree = degrees.tp,
                                 .sequences = sequences,
                                 .length = sequence_length(job.training, job.model.spec->longest_sequence()),
                                 .storage = models::storage_of(job.parallel)});
}

partition::Plan plan_of(const Job& job, int world) {
    return partition::make_plan(graph_of(job, world), job.parallel, partition::degrees_in(job.parallel, world),
                                /*evaluation_microbatches=*/job.parallel.microbatches);
}

}  // namespace smp::runtime
