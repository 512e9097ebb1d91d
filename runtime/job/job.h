// Everything that a Trainer needs to know: the option structs of the rooms, side by side.
#pragma once

#include <string>

#include "models/gpt2/options.h"
#include "partition/job/options.h"
#include "runtime/job/options.h"

namespace smp::runtime {

struct Job {
    models::ModelOptions model;
    partition::ParallelOptions parallel;
    TrainingOptions training;
    DataOptions data;
    partition::ClusterOptions cluster;
    LoggingOptions logging;
    /// The configuration as lines "section.key=value", sorted: what ranks compare, so that one which differs can be
    /// told which key does. smp_train fills it; where it is empty on all ranks only the plans are compared.
    std::string canonical_text;
};

}  // namespace smp::runtime
