// What a family's operators do not take on CUDA devices: for specs that have something to say of it, beside ModelSpec.
#pragma once

#include "models/microbatch_share.h"
#include "partition/job/option_checks.h"

namespace smp::models {

class DeviceRules {
  public:
    virtual ~DeviceRules() = default;

    /// What speaks against computing such shares of microbatches where `share.storage` says: operators that have no
    /// kernel for them. May be asked only where ModelSpec::checks() has nothing to say.
    virtual void check_share(const MicrobatchShare& share, partition::OptionChecks& checks) const = 0;
};

}  // namespace smp::models
