// What GPT-2's modules compute.
#pragma once

#include <cstdint>

#include "models/gpt2/options.h"
#include "models/microbatch_share.h"
#include "models/model_spec.h"

namespace smp::models {

/// Of one rank's share of a microbatch of b sequences of length T. FLOPs count the matrix products (2·m·n·k each) and
/// attention's, causal attention in full: a layer's forward does 2·N·(4h² + 2·h·inner)/tp + 4·N·T·h/tp, its backward
/// twice that, half of it without attention for weights. The head's product counts three times in its backward, none in
/// its forward and none as weight_flops: loss, logits, their gradient and the weight gradient are all made chunk by
/// chunk in backward_input. Padding is counted, since it is computed. MicrobatchShare::storage changes bytes, not
/// FLOPs: what is sharded by rows beside them are no matrix products.
ModuleWork gpt2_work(const Gpt2Options& options, int module, const MicrobatchShare& share);

/// FLOPs of the model for one token, forward and backward, as MFU counts them: 6·N + 12·L·h·s (PaLM, appendix B; N: all
/// parameters, causal attention in full).
double model_flops_per_token(const Gpt2Options& options, std::int64_t length);

}  // namespace smp::models
