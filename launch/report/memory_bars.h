// What stages take, predicted beside measured, category by category.
#pragma once

#include <string>
#include <vector>

#include "launch/report/run_folder.h"

namespace smp::launch {

/// HTML: two bars a stage, with a legend, and the numbers as a table. Empty where nothing is known.
std::string memory_html(const std::vector<StageMemory>& stages);

}  // namespace smp::launch
