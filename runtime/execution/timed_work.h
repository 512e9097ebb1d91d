// When an asynchronous operation was complete.
#pragma once

#include <cstdint>
#include <functional>

#include "comms/communicator.h"
#include "comms/progress.h"

namespace smp::runtime {

/// The steady clock of this machine, in nanoseconds.
std::int64_t steady_nanoseconds();

/// The same operation; `note` is called once, with the time at which it was first found complete: in a wait for
/// anything, or in progress(), which operators call between each other. At once, if it is complete already. `progress`:
/// the operation's.
comms::Work timed(comms::Work work, comms::Progress& progress, std::function<void(std::int64_t now)> note);

}  // namespace smp::runtime
