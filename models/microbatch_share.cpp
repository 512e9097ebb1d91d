#include "models/microbatch_share.h"

namespace smp::models {

ActivationStorage storage_of(const partition::ParallelOptions& options) {
    return {.optimize = options.optimize,
            .precision = partition::precision_of(options),
            .recomputes_cheap = partition::recomputes_selectively(options)};
}

}  // namespace smp::models
