// Failing together: what ranks must agree on before they work, so that a mistake on one of them is a message and not a
// hang.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comms/communicator.h"

namespace smp::runtime {

/// Beside its own class, what an exception is that every rank of the world knows of and throws at the same place: rank
/// 0 reports it, nobody needs to be told. The world stays usable.
class AgreedFailure {
  public:
    AgreedFailure(std::string message, int exit_code, int rank);
    virtual ~AgreedFailure() = default;

    /// The exception's what().
    const std::string& message() const { return message_; }
    int exit_code() const { return exit_code_; }
    int rank() const { return rank_; }

  private:
    std::string message_;
    int exit_code_;
    int rank_;  // the lowest rank that failed
};

/// The exit code of INTERFACE §5 for an exception: 2 configuration, 3 data, 4 communication, 5 memory, 6 the last
/// checkpoint, 1 anything else.
int exit_code_of(const std::exception& error);

/// What to tell a person of it: its words, but for those of the library below, which say of memory that has run out no
/// more than that, and add where in the library it was.
std::string sentence_of(const std::exception& error);

/// Throws what the exit code stands for, an AgreedFailure too: 2 partition::ConfigError, 3 DataError, 5 MemoryError,
/// 6 CheckpointError, anything else std::logic_error. To be called on every rank alike.
[[noreturn]] void throw_agreed(const std::string& message, int exit_code, int rank);

/// Runs `local`, which must not communicate, on every rank. If it threw anywhere, all ranks throw as throw_agreed()
/// does, with class and message of the lowest rank that failed. Collective.
void fail_together(comms::Communicator& world, const std::function<void()>& local);

/// What every rank says, on every rank. Collective.
std::vector<std::string> texts_of_all(comms::Communicator& world, const std::string& text);
/// What rank 0 says, on every rank. Collective.
std::string text_of_first(comms::Communicator& world, const std::string& text);

/// Compares `text` (lines "key=value") over all ranks. If it differs, all ranks throw an agreed ConfigError that names
/// the first rank which differs from rank 0, the key and both values. Collective.
void require_equal_text(comms::Communicator& world, const std::string& text);

}  // namespace smp::runtime
