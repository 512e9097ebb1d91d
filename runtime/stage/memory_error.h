#pragma once

#include <stdexcept>

namespace smp::runtime {

/// Where a CUDA device refuses memory: what happened, with what to change behind it.
constexpr const char* kDeviceRefuses = "the CUDA device refuses more";
constexpr const char* kDeviceRemedy =
    "lower parallel.active_microbatches or the batch, or see parallel.activation_checkpointing and "
    "parallel.shard_optimizer_state";

/// Memory ran out, or a limit was passed (exit code 5). The message says which memory, how much was asked for and what
/// to change.
class MemoryError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace smp::runtime
