// The parameters of one rank and where they lie in its flat buffers: a value, known before any tensor exists.
#pragma once

#include <span>
#include <vector>

#include "models/model_spec.h"
#include "models/parameter.h"
#include "partition/job/precision.h"
#include "partition/job/topology.h"
#include "partition/plan/plan.h"
#include "runtime/state/flat_layout.h"

namespace smp::runtime {

struct StageLayout {
    std::vector<models::Parameter> parameters;  // of all chunks of the stage, in order of their modules
    std::vector<int> modules;                   // of each parameter: index in the graph
    std::vector<Range> section_parameters;      // of each chunk: indices of its parameters
    FlatLayout flat;
};

/// Of the ranks at pipeline and tensor position `at`; all replicas have the same.
StageLayout stage_layout(const partition::Plan& plan, const models::ModelSpec& model, partition::Precision precision,
                         const partition::Coordinate& at);

/// What a replica updates of its flat buffers: its shard where optimizer states are sharded, else everything.
std::vector<Range> updated_ranges(const FlatLayout& flat, int replica, bool sharded);

/// A part of a parameter that lies in given ranges of the flat buffers.
struct ParameterPart {
    int parameter = 0;
    Range flat;    // where in the flat buffers
    Range packed;  // where in a buffer that has those ranges alone, one behind the other: moments, masters
};

/// The parts of all parameters in `ranges` (ascending), by parameter; those whose values are another's (a tied one
/// beside its partner) have none.
std::vector<ParameterPart> parts_in(const FlatLayout& flat, std::span<const Range> ranges);

}  // namespace smp::runtime
