// What is wrong where a training is done and its last checkpoint is not on the disk.
#pragma once

#include <stdexcept>

namespace smp::runtime {

/// One full sentence. Programs leave with exit code 6.
class CheckpointError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace smp::runtime
