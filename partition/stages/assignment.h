// Which stage holds which modules: the chain of modules is cut into contiguous chunks, at best or by hand.
#pragma once

#include <vector>

#include "partition/job/fields.h"
#include "partition/job/ids.h"
#include "partition/job/module_graph.h"
#include "partition/job/options.h"
#include "partition/stages/chain_split.h"
#include "partition/stages/placement.h"

namespace smp::partition {

/// A contiguous run of modules on one stage, never empty. Chunk i feeds chunk i + 1.
struct Chunk {
    StageId stage = {};
    int first_module = 0;
    int end_module = 0;  // one past the last
    /// First module of each group that is checkpointed together, ascending from first_module; empty: nothing is.
    Table<GroupId, int> groups = {};

    /// One past the last module of a group.
    int group_end(GroupId group) const { return groups.has(group + 1) ? groups[group + 1] : end_module; }
    bool holds(int module) const { return module >= first_module && module < end_module; }
    bool operator==(const Chunk&) const = default;
};
template <>
struct Fields<Chunk> {
    static constexpr auto list =
        fields<Chunk>(stated("stage", &Chunk::stage), stated("first_module", &Chunk::first_module),
                      stated("end_module", &Chunk::end_module), field("groups", &Chunk::groups));
};

using Chunks = Table<ChunkId, Chunk>;

/// Throws std::logic_error where a chunk is on none of the stages.
Placement placement_of(const Chunks& chunks, int stages);

/// memory_weight·memory/total + (1 − memory_weight)·compute/total of each module, where the whole chain is 10⁹ ticks.
/// Memory is 16 bytes a parameter in fp32 (value, gradient and two moments), 18 in 16 bits (and a master copy; a tied
/// copy on the same chunk needs only the gradient) and what is kept of the microbatches that the first stage holds at
/// once: input and stash of a module, or its share of the input of a group of `checkpointed_layers`, where that is not
/// 0. Compute is forward, twice where it is repeated, and backward FLOPs. Integer arithmetic but for rounding FLOPs and
/// the weight (to millionths): equal on every machine.
ChainCosts chain_costs(const ModuleGraph& graph, double memory_weight, int microbatches_held,
                       int checkpointed_layers = 0);

/// The groups of a chunk in which `layers_per_group` layers (0: nothing, and no groups) are checkpointed together. What
/// precedes the first layer goes with it: it reads tokens, so that the group's input costs nothing. What follows the
/// last layer (the head) is a group of its own, so that its logits do not meet a recomputed layer.
Table<GroupId, int> checkpoint_groups(const ModuleGraph& graph, const Chunk& chunk, int layers_per_group);

/// The chunks of a job, dealt out in turn, virtual_pipeline_degree on each stage, automatic (cheapest_split) or by
/// `stage_layers`, where what precedes the first layer (embedding) goes to the first chunk, and what follows a layer up
/// to the next one (head) stays with it. Throws ConfigError with all problems: fewer layers than chunks, `stage_layers`
/// with another number of entries than chunks, with another sum than layers, with an entry below 0, or that leaves a
/// chunk without any module.
Chunks assign_stages(const ModuleGraph& graph, const ParallelOptions& options);

}  // namespace smp::partition
