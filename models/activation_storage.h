// How a rank stores boundary tensors and what is kept of them.
#pragma once

#include "partition/job/options.h"
#include "partition/job/precision.h"

namespace smp::models {

/// How tensor ranks hold boundary tensors and what is kept of them: whole or by rows, how wide, and whether what is
/// cheap to compute (outputs of LayerNorms and of GELU, from their inputs) is computed again rather than kept.
struct ActivationStorage {
    partition::Optimize optimize = partition::Optimize::speed;
    partition::Precision precision = partition::Precision::fp32;
    bool recomputes_cheap = false;
};

}  // namespace smp::models
