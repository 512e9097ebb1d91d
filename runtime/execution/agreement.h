// Failing together: what ranks must agree on before they work, so that a mistake on one of them is a message and not a
// hang.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

#include "comms/communicator.h"

namespace smp::runtime {

/// A failure that every rank of the world knows of and throws at the same place: rank 0 reports it, nobody needs to be
/// told. The world stays usable.
class AgreedFailure : public std::runtime_error {
  public:
    AgreedFailure(const std::string& message, int exit_code, int rank)
        : std::runtime_error(message), exit_code_(exit_code), rank_(rank) {}
    int exit_code() const { return exit_code_; }
    int rank() const { return rank_; }

  private:
    int exit_code_;
    int rank_;  // the lowest rank that failed
};

/// The exit code of INTERFACE §5 for an exception: 2 configuration, 3 data, 4 communication, 5 memory, 1 anything else.
int exit_code_of(const std::exception& error);

/// Runs `local`, which must not communicate, on every rank. If it threw anywhere, all ranks throw AgreedFailure with
/// the message of the lowest rank that failed. Collective.
void fail_together(comms::Communicator& world, const std::function<void()>& local);

/// Compares `text` (lines "key=value") over all ranks. If it differs, all ranks throw AgreedFailure (exit code 2) that
/// names the first rank which differs from rank 0, the key and both values. Collective.
void require_equal_text(comms::Communicator& world, const std::string& text);

}  // namespace smp::runtime
