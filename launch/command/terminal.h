// Does a person watch?
#pragma once

namespace smp::launch {

/// Whether what this process prints ends up on a terminal that can redraw a line (TERM is set, and not "dumb"). Under
/// mpirun every rank has a pseudo-terminal of its own, whatever mpirun's output goes to: then it is the launcher's that
/// counts, and false where that cannot be seen.
bool prints_to_terminal();

/// Whether NO_COLOR leaves colours to programs: it is unset, or empty (no-color.org).
bool allows_colours();

}  // namespace smp::launch
