// The plan: everything that says who does what, when, with which bytes, as a value that every rank derives from the
// same inputs.
#pragma once

#include <cstdint>
#include <vector>

#include "partition/job/module_graph.h"
#include "partition/job/options.h"
#include "partition/job/reduction_scratch.h"
#include "partition/job/topology.h"
#include "partition/plan/action.h"
#include "partition/plan/flat_section.h"
#include "partition/schedule/schedule.h"
#include "partition/stages/assignment.h"

namespace smp::partition {

struct Plan {
    Topology topology;
    Transport transport = Transport::shared_memory;  // between all ranks
    Chunks chunks = {};
    Table<ChunkId, FlatSection> sections = {};  // of a rank's flat buffers
    int microbatches = 1;
    int active_microbatches = 1;  // the bound K
    PipelineSchedule schedule = PipelineSchedule::interleaved;
    int evaluation_microbatches = 1;
    /// Each data-parallel rank updates its own shard of the parameters (never with one such rank).
    bool shard_optimizer_state = false;
    /// Checkpointed inputs live in host memory and come back so many tasks ahead of their backward; 0: they stay.
    int loading_horizon = 0;
    /// With a split backward: bound on the bytes that each stage keeps for a backward or its weight part
    /// (zero_bubble_bound).
    Table<StageId, std::int64_t> held_bytes = {};
    /// Where a forward-only program lets a stage run ahead of the next one, what it has received and not used yet, and
    /// what it has sent that is not known to have left: so many microbatches at most of each.
    int evaluation_boundaries = 1;
    bool evaluates = false;  // the job does, between steps: what that takes counts
    Programs training = {};
    Programs evaluation = {};  // forward only, `evaluation_microbatches` of them
    Programs sampling = {};    // forward only, one microbatch

    bool operator==(const Plan&) const = default;
};
template <>
struct Fields<Plan> {
    static constexpr auto list = fields<Plan>(
        stated("topology", &Plan::topology), field("transport", &Plan::transport), stated("chunks", &Plan::chunks),
        stated("sections", &Plan::sections), stated("microbatches", &Plan::microbatches),
        stated("active_microbatches", &Plan::active_microbatches), stated("schedule", &Plan::schedule),
        stated("evaluation_microbatches", &Plan::evaluation_microbatches),
        field("shard_optimizer_state", &Plan::shard_optimizer_state), field("loading_horizon", &Plan::loading_horizon),
        field("held_bytes", &Plan::held_bytes), field("evaluation_boundaries", &Plan::evaluation_boundaries),
        field("evaluates", &Plan::evaluates), stated("training", &Plan::training),
        stated("evaluation", &Plan::evaluation), stated("sampling", &Plan::sampling));
};

/// What one microbatch costs on each chunk: FLOPs in ticks, 10⁹ for the whole chain both ways, and bytes. Recomputation
/// is part of the backward (of its input part), and what is held for it are checkpoints.
CostsOfChunks computation_costs(const ModuleGraph& graph, const Chunks& chunks);

/// Builds the whole plan. `graph` holds the costs of one microbatch; `evaluation_microbatches` ≥ 1.
/// The orders of `interleaved` come from unit costs, since that order is right for any; those of `zero_bubble` from
/// computation_costs, which decide where a weight part fits. `measured` times, one entry a chunk of assign_stages,
/// replace both; their bytes are not read. Whoever measures must give all ranks the same ones (rank 0's, broadcast):
/// ranks compare plans. `transport`: how the job's ranks reach each other, by which reductions take memory. Throws
/// ConfigError with all problems found (layers fewer than stages, stage_layers that do not add up, …), and
/// std::logic_error for costs of another number of chunks.
Plan make_plan(const ModuleGraph& graph, const ParallelOptions& options, const Degrees& degrees,
               int evaluation_microbatches, const CostsOfChunks& measured = {},
               Transport transport = Transport::shared_memory);

/// 64-bit FNV-1a over a canonical text of every field that has not its usual value (partition/job/fields.h): equal
/// values have equal hashes on every machine.
std::uint64_t hash_of(const Plan& plan);
std::uint64_t hash_of(const ModuleGraph& graph);

}  // namespace smp::partition
