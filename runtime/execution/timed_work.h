// When an asynchronous operation was complete.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "comms/communicator.h"
#include "comms/progress.h"

namespace smp::runtime {

/// The steady clock of this machine, in nanoseconds.
std::int64_t steady_nanoseconds();

/// An operation in flight; `note` is called once, at its end where the operation tells of it, else when it is first
/// found complete: in a wait for anything, or in progress(), which operators call between each other. `progress`: the
/// operation's.
comms::Work timed(std::shared_ptr<comms::Operation> operation, comms::Progress& progress, std::function<void()> note);

}  // namespace smp::runtime
