// Where a report goes.
#pragma once

#include <string>

#include "launch/bench/report.h"

namespace smp::launch {

/// In `format` to standard output, or, where `output` names a file, into that and as text to standard output. Throws
/// ReaderIsGone, and runtime::DataError where it cannot be written.
void give_answer(const Report& report, ReportFormat format, const std::string& output);

}  // namespace smp::launch
