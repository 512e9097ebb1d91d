// What GPT-2's passes take while they run, of memory and of the tensor group: sketches of them (models/pass_sketch.h),
// line by line, by which the plan knows a job's peak before it starts. Changing what a pass allocates, when it lets go
// or what it exchanges means changing its sketch.
#pragma once

#include "models/gpt2/options.h"
#include "models/microbatch_share.h"
#include "partition/job/module_graph.h"

namespace smp::models {

/// Of module `module` (numbered as in gpt2_parameters), with our own kernels on the CPU: the ATen twins, which oracles
/// and other devices use, make more. A reduction over tensor ranks takes what all_reduce_scratch says of
/// `share.transport`.
partition::ModulePasses gpt2_passes(const Gpt2Options& options, int module, const MicrobatchShare& share);

}  // namespace smp::models
