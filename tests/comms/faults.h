// Programs that end a whole job of processes: run by this binary under mpirun, started by the tests in
// processes_test.cpp.
#pragma once

#include <string>

namespace smp::comms {

/// Runs one by name; the exit code of this process.
int run_fault(const std::string& name);

}  // namespace smp::comms
