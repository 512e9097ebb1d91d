#pragma once

#include <stdexcept>

namespace smp::runtime {

/// Memory ran out, or a limit was passed (exit code 5). The message says which memory, how much was asked for and what
/// to change.
class MemoryError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace smp::runtime
