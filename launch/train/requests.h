// Signals to a rank that ask its training for something.
#pragma once

#include "runtime/session.h"

namespace smp::launch {

/// From now on TERM, INT and USR2 (which mpirun forwards) ask for a stop after the step, with a checkpoint, and USR1
/// for a checkpoint. A second TERM or INT ends the process at once. For the whole process, once.
void take_requests();

/// What was asked for since the last call; a stop stays asked for. For each thread that is a rank on its own.
runtime::Request requested();

}  // namespace smp::launch
