#include "models/gpt2/gpt2_segment.h"

#include <utility>

#include "comms/communicator.h"

namespace smp::models {

kernels::DropoutKey dropout_key(const Microbatch& microbatch, double probability, int layer,
                                kernels::DropoutSite site) {
    return {.probability = microbatch.training ? probability : 0.0,
            .seed = microbatch.seed,
            .step = microbatch.step,
            .first_sequence = microbatch.first_sequence,
            .length = microbatch.length,
            .layer = static_cast<std::uint32_t>(layer),
            .site = site};
}

kernels::DropoutKey own_rows_dropout_key(const SegmentContext& context, const Microbatch& microbatch,
                                         double probability, int layer, kernels::DropoutSite site) {
    kernels::DropoutKey key = dropout_key(microbatch, probability, layer, site);
    key.first_row = first_own_row(context, microbatch);
    return key;
}

Gpt2Segment::Gpt2Segment(const Gpt2Options& options, int module, SegmentContext context)
    : BoundSegment(gpt2_module_name(options, module),
                   gpt2_module_parameters(options, module, context.tensor_group->size(), context.tensor_group->rank()),
                   context),
      options_(options),
      shard_(gpt2_shard(options, context.tensor_group->size(), context.tensor_group->rank())) {}

}  // namespace smp::models
