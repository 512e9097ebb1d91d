// Everything that a Trainer needs to know: the model and the option structs of the rooms, side by side.
#pragma once

#include <string>

#include "models/model.h"
#include "partition/job/options.h"
#include "runtime/job/options.h"

namespace smp::runtime {

struct Job {
    models::Model model;  // a trainer asks for its segments too, planning for its spec alone
    partition::ParallelOptions parallel;
    TrainingOptions training;
    DataOptions data;
    partition::ClusterOptions cluster;
    CheckpointOptions checkpoint;
    LoggingOptions logging;
    /// The configuration as lines "section.key=value", sorted: what ranks compare, so that one which differs can be
    /// told which key does. smp_train fills it; where it is empty, the model's own text stands for it.
    std::string canonical_text;
};

}  // namespace smp::runtime
