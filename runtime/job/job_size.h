// Sizes that nothing could work with, found before anything is computed from them. No LibTorch.
#pragma once

#include <cstdint>

#include "partition/job/option_checks.h"
#include "runtime/job/job.h"

namespace smp::runtime {

/// Models, plans and searches for stages that would take more memory or time than a person waits, although each key is
/// within its own limits. The sections must be valid.
void check_size(const Job& job, partition::OptionChecks& checks);

/// What depends on the number of data-parallel ranks: products that have to stay inside 64 bits.
void check_size_on(const Job& job, int rdp, partition::OptionChecks& checks);

}  // namespace smp::runtime
