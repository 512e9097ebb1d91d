// Proves that a plan can be executed, over all pipeline ranks at once, against the strictest backend there is
// (partition/check/machine.h): sends are rendezvous, posting never blocks but waits do, the operations of one
// communicator run one after another, nothing is ordered across streams but by events.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "partition/plan/plan.h"
#include "partition/stages/placement.h"

namespace smp::partition {

/// What a set of programs, one for each stage, has to do.
struct Duty {
    Placement placement = in_turn(1);
    int microbatches = 1;
    bool training = true;             // otherwise forwards only
    bool gathers_parameters = false;  // of each chunk, before its first forward
    int active_microbatches = 1;      // bound between the first forward and the last backward, in training
    Table<ChunkId, int> groups = {};  // in training: how many are recomputed (0: none); empty: none
    /// Of the flat buffers, whose buckets are what collectives over the data-parallel group are of; empty: all at once.
    Table<ChunkId, FlatSection> sections = {};
    int boundaries = 0;       // in forward-only programs: of each kind, held at once for a chunk; 0: any number
    int loading_horizon = 0;  // tasks that a checkpointed input comes back ahead at most; 0: nothing leaves
    /// Bounds on each stage, in training; empty: none but the one above. Microbatches between forward and backward (or
    /// its input part), counted on each chunk; and bytes of what is kept for a backward or its weight part (inputs, and
    /// stashes or, where these are recomputed, checkpoints).
    Table<StageId, int> in_flight = {};
    Table<StageId, std::int64_t> held_bytes = {};
};

/// What is wrong with the programs, in sentences that name the actions which disagree, with stage, position in its
/// list (from 0) and name; empty if they are proven. Passes, each only if the ones before found nothing:
/// 1. form: indices in range, each event signalled once and waited for later, streams and channels as the kinds ask;
/// 2. compute: every microbatch once per chunk and group, forward before backward (whole, or its input part before its
///    weight part), recomputed once right where it should, what was
///    offloaded fetched back within the horizon, weight gradients in ascending order, buffers those of the
///    action's microbatch and chunk, the bounds kept;
/// 3. update: sums of tied gradients after the last backward, those of rows after that, the reductions of each chunk,
///    every bucket of it, after both, the update after all; where parameters are gathered, each chunk's before its
///    first forward;
/// 4. boundaries: what forward-only programs hold of them is bounded;
/// 5. messages: the n-th send of an edge meets the n-th receive with the same content and bytes; collectives
///    come in the same order on all stages;
/// 6. end: the abstract machine runs all programs to their end;
/// 7. buffers: written once, before they are read; freed once, after the last use; conflicting accesses ordered by
///    happens-before, but for collectives over different buckets, and what kDataCollectivesAtOnce keeps apart.
std::vector<std::string> check(const Programs& programs, const Duty& duty);

/// The same for all programs of a plan, wherever it comes from; sentences about them start with "training: ",
/// "evaluation: " or "sampling: ". First of all what stands around them: degrees, chunks, groups, bounds and counts.
std::vector<std::string> check(const Plan& plan);
/// And that it is a plan of this model, whose costs are costs.
std::vector<std::string> check(const Plan& plan, const ModuleGraph& graph);

}  // namespace smp::partition
