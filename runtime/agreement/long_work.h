// Work at a start that may take one rank long, while the others wait for it: working is not waiting.
#pragma once

#include <functional>
#include <string>

#include "comms/communicator.h"
#include "runtime/data/token_cache.h"

namespace smp::runtime {

/// Called by work as it goes on, from any thread.
using ReportWork = std::function<void(const TextWork&)>;

/// Runs `work`, which must not communicate, on every rank, on a thread of its own beside the rank's, while the ranks
/// keep in touch: however long it takes somewhere, nobody's wait runs past its limit. If it threw anywhere, all ranks
/// throw as fail_together() does. A rank whose work reports nothing new for as long as a wait may take (the
/// communicator's limit) throws CommunicationError and may leave the thread behind: what `work` refers to must be its
/// own, by value or shared pointer. `tell`, on rank 0, gets a sentence about work that takes seconds every few of them.
/// Collective.
void work_together(comms::Communicator& world, const std::function<void(const ReportWork& report)>& work,
                   const std::function<void(const std::string&)>& tell);

}  // namespace smp::runtime
