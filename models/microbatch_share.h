// What one rank computes at once: a microbatch on one rank of a tensor group, and how it stores what it keeps of it.
#pragma once

#include <cstdint>

#include "partition/job/options.h"
#include "partition/job/precision.h"
#include "partition/job/reduction_scratch.h"

namespace smp::models {

/// How tensor ranks hold boundary tensors and what is kept of them: whole or by rows, how wide, and whether what is
/// cheap to compute (outputs of LayerNorms and of GELU, from their inputs) is computed again rather than kept.
struct ActivationStorage {
    partition::Optimize optimize = partition::Optimize::speed;
    partition::Precision precision = partition::Precision::fp32;
    bool recomputes_cheap = false;
    bool on_cuda = false;  // a device whose memory is large and whose products want to be
};

/// Device::automatic counts as the CPU: whoever knows better says so.
ActivationStorage storage_of(const partition::ParallelOptions& options, partition::Device device);

/// b sequences of length T on one of so many tensor ranks: all that the sizes of its tensors depend on, beside the
/// model.
struct MicrobatchShare {
    int tensor_degree = 1;
    std::int64_t sequences = 0;  // b
    std::int64_t length = 0;     // T
    ActivationStorage storage = {};
    partition::Transport transport = partition::Transport::shared_memory;  // between the tensor ranks

    /// N = b·T.
    std::int64_t rows() const { return sequences * length; }
    /// N': rows of a boundary tensor that the rank holds, N or, with Optimize::memory, N / tensor_degree.
    std::int64_t boundary_rows() const {
        return rows() / (storage.optimize == partition::Optimize::memory ? tensor_degree : 1);
    }
    /// Bytes of a value that is stored in the storage's precision.
    std::int64_t value_bytes() const { return partition::value_bytes(storage.precision); }
};

}  // namespace smp::models
