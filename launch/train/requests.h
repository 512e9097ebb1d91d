// Signals: to a training they are requests, to a process that does not train yet its end.
#pragma once

#include <cstdint>

#include "runtime/session.h"

namespace smp::launch {

/// From now on TERM, INT, HUP and USR2 end the process as they do by themselves (128 + signal), with a line that names
/// the signal and the last step where `speaks` (one process of a job does); USR1 is remembered. HUP stays ignored where
/// it is (nohup). For the whole process, once.
void take_signals(bool speaks);

/// From now on TERM, INT, HUP and USR2 (which mpirun forwards) ask for a stop after the step, with a checkpoint, and
/// USR1 for a checkpoint. A second TERM, INT or HUP ends the process at once, as before.
void take_requests();

/// What was asked for since the last call; a stop stays asked for. `steps_done` is for the line of a signal that ends
/// the process. For each thread that is a rank on its own.
runtime::Request requested(std::int64_t steps_done);

}  // namespace smp::launch
