// The command line of smp_train.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/train/launcher.h"

namespace smp::launch {

enum class Resume { automatic, never };

struct TrainArguments {
    std::string config;
    std::vector<std::string> sets;  // "SECTION.KEY=VALUE", in order
    std::string output;             // runs/<config name> unless given
    Resume resume = Resume::automatic;
    std::string resume_from;   // a checkpoint or a run's folder; empty: as `resume` says
    std::optional<int> ranks;  // of local mode
    Launcher launcher = Launcher::automatic;
    bool quiet = false;
    bool dry_run = false;
    bool evaluate = false;
    /// Text to print instead of training: --help, --version.
    std::optional<std::string> answer;
};

/// Throws partition::ConfigError for anything that smp_train does not know or cannot do yet.
TrainArguments parse_train_arguments(int argc, const char* const* argv);

}  // namespace smp::launch
