// Whether all ranks are the same program, and train from the same data and the same initial values: what their
// configurations do not show.
#pragma once

#include <string>
#include <vector>

#include "comms/communicator.h"
#include "partition/job/module_graph.h"
#include "partition/job/topology.h"
#include "runtime/data/dataset.h"
#include "runtime/stage/stage.h"

namespace smp::runtime {

/// Throws an agreed ConfigError that names the first rank which is another build than rank 0, its host and both
/// versions; `version` is this rank's. Collective.
void require_same_program(comms::Communicator& world, const std::string& version);

/// Throws an agreed DataError that names the first rank whose data are others than rank 0's, and the file: another
/// number of tokens, or another sum over them. Files of more than about four million tokens together are summed over as
/// many, in samples evenly spread over the epoch. Collective.
void require_same_data(comms::Communicator& world, const std::vector<const Dataset*>& data);

/// Throws an agreed DataError that names the first rank whose values are others than those of a rank that must hold the
/// same: a replica, or the other copy of a tied tensor. Collective.
void require_same_values(comms::Communicator& world, const partition::Coordinate& at, const Stage& stage,
                         const std::vector<partition::SharedParameter>& tied);

}  // namespace smp::runtime
