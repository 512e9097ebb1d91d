#include "models/microbatch_share.h"

namespace smp::models {

ActivationStorage storage_of(const partition::ParallelOptions& options, partition::Device device) {
    return {.optimize = options.optimize,
            .precision = partition::precision_of(options),
            .recomputes_cheap = partition::recomputes_selectively(options),
            .on_cuda = device == partition::Device::cuda};
}

}  // namespace smp::models
