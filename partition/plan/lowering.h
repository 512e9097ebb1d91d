// From what each stage computes to what each rank does: adds messages, buffers, events, and the actions that end a
// step. Every feature that adds actions to a program (copies, recomputation, reductions) adds them here and nowhere
// else.
//
// Where things are put, and why it costs nothing:
// - A send follows the step that makes its tensor. A receive is posted right behind the last own step without which the
//   message could not exist (Precedence): earlier would hold memory for nothing, later could hold up the sender. With K
//   above the number of stages that is more steps ahead of its use, which is how the longer warm-up hides latency. So
//   activation buffers are bounded by the previous stage's in-flight limit. Where the order bounds nothing (gradients
//   after the last forward, everything in a forward-only program) at most `receives_ahead` of a kind are posted and
//   unused, and each is posted at least one step ahead of its use wherever the order allows it.
// - A send or receive waits for the event of the compute step before it: the one that made its tensor or made room.
// - A send is waited for by the first own step that cannot start before the message has been used on the other side (so
//   the wait never adds a stall), which for activations is at the latest the backward of the same microbatch. Where
//   there is none, by the optimizer step: such gradients replace activations of the same size, so they raise no peak.
//   In a forward-only program by the forward `receives_ahead` later, at last by `join`.
// - Copies of a shared parameter exchange gradients as soon as the last microbatch has passed their chunk;
//   receives are posted first, one step ahead of the stage's last, so that no two ranks wait for each other.
// - Where a chunk is checkpointed in groups, each group's forward hands its output on as the next one's checkpoint, and
//   its backward follows right behind its recomputation, the last group's first. Receives of gradients are waited for
//   by the first backward, so that recomputation runs under their way.
// - A task is one group's forward, backward (with its recomputation, or its input part) or weight part. A checkpointed
//   input whose backward is more than loading_horizon + 1 tasks after its forward is offloaded right behind the
//   forward, and fetched back right ahead of the task that comes loading_horizon before its backward: nearer ones would
//   leave only to return. The forward that makes the next input to be offloaded waits for the last copy but one, so
//   that at most kOffloadsUnderWay are leaving.
// - A chunk's gradients are reduced right behind its last backward, or behind the sum of tied gradients where it holds
//   a copy, bucket by bucket; where tensor ranks have seen their own rows only, these are summed before. All are posted
//   at once: the order in which they begin is that of the list. Sharded parameters are gathered at the start of the
//   programs that read them, in the order of their first use, so that each chunk's first forward waits for its own only
//   and the others travel under it.
#pragma once

#include "partition/job/module_graph.h"
#include "partition/job/reduction_scratch.h"
#include "partition/plan/action.h"
#include "partition/plan/flat_section.h"
#include "partition/schedule/schedule.h"
#include "partition/stages/assignment.h"

namespace smp::partition {

inline constexpr std::size_t kOffloadsUnderWay = 2;

struct LoweringOptions {
    bool training = true;    // otherwise forwards only: nothing is stashed, reduced or updated
    int receives_ahead = 2;  // at least 1
    int tensor_ranks = 1, replicas = 1;
    Transport transport = Transport::shared_memory;  // of both groups
    /// Each data-parallel rank updates its own shard of the parameters, which are gathered before they are read.
    bool sharded = false;
    /// Checkpointed inputs live in host memory and come back so many tasks ahead of their backward; 0: they stay.
    int loading_horizon = 0;
};

/// The program of each stage, whatever the placement of `chunks`, whose flat buffers are cut as `sections` say. Values
/// take what the graph's precision says, gradients 4 bytes. Throws std::logic_error for orders that cannot run.
Programs lower(const ModuleGraph& graph, const Chunks& chunks, const Table<ChunkId, FlatSection>& sections,
               const ComputeOrders& orders, int microbatches, const LoweringOptions& options);

}  // namespace smp::partition
