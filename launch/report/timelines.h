// The pipeline of a run as pictures: a traced step, and beside it the plan's.
#pragma once

#include <filesystem>
#include <vector>

#include "partition/foresight/timeline_picture.h"

namespace smp::launch {

/// The last traced step as it ran (trace.json; none without one), then the plan's step (plan.json): at the speed that
/// the traced step computed with, else at assumed ones. Files of over 256 MB are not read: a line of the picture of the
/// other says so. Throws runtime::DataError for a plan.json that is none.
std::vector<partition::TimelinePicture> timelines_of(const std::filesystem::path& folder);

}  // namespace smp::launch
