// What a run reads is not what it writes over.
#pragma once

#include <string>

#include "launch/config/config.h"
#include "launch/train/train_arguments.h"

namespace smp::launch {

/// Throws partition::ConfigError if a file that the run reads is one that it would write in its output folder, or
/// lies where it clears away what it does not need (tokens/). Its own
/// configuration may lie there, where it would be written as it is (`config_json`): the run is repeated.
void refuse_inputs_as_output(const TrainArguments& arguments, const Config& config, const std::string& config_json);

}  // namespace smp::launch
