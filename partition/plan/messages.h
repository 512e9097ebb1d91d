// The messages that a schedule needs: who sends what to whom, when each side posts it and when the sender must know
// that it has left. The rules, and why they cost no time, are told in partition/plan/lowering.h.
#pragma once

#include <cstdint>
#include <vector>

#include "partition/job/module_graph.h"
#include "partition/plan/action.h"
#include "partition/schedule/precedence.h"
#include "partition/schedule/schedule.h"
#include "partition/stages/assignment.h"

namespace smp::partition {

/// Positions are those of compute steps in a stage's list of n steps; n stands for "after all of them".
struct Message {
    Channel channel = Channel::none;
    StageId from_stage = {}, to_stage = {};
    ChunkId from_chunk = {}, to_chunk = {};
    MicrobatchId microbatch = {};  // none for tied
    int shared = -1, module = -1;  // whose gradient, for tied
    std::int64_t bytes = 0;
    int made = 0;    // sender: posted right behind this step
    int posted = 0;  // receiver: posted right before this step
    int used = 0;    // receiver: this step needs it
    int left = 0;    // sender: this step waits until it has left
};

struct LoweringOptions;

/// All messages of one step, sorted by channel, sender and the order in which the sender posts them. For each pair of
/// stages and channel `posted` rises with `made`.
std::vector<Message> messages_of(const ModuleGraph& graph, const Chunks& chunks, const ComputeOrders& orders,
                                 int microbatches, const LoweringOptions& options);

}  // namespace smp::partition
