// Schedules as pure functions: from (stages, microbatches, bound K) to what each stage computes, in which order.
// Nothing here sends, waits or owns memory; partition/plan/lowering.h adds all that. A new schedule is one more
// function in schedule.cpp, and a row in partition/job/pipeline_schedule.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "partition/job/ids.h"
#include "partition/job/pipeline_schedule.h"

namespace smp::partition {

enum class ComputationKind {
    forward,
    backward,         // inputs and weights at once
    backward_input,   // split: gradients of inputs, which the previous stage waits for …
    backward_weight,  // … and of weights, which nobody does before the reduction
};

/// One microbatch through one chunk, one way.
struct Computation {
    ComputationKind kind = ComputationKind::forward;
    MicrobatchId microbatch = {};
    ChunkId chunk = {};

    bool operator==(const Computation&) const = default;
};

/// "F mb3 chunk1": names in refusals.
std::string name_of(const Computation& computation);

/// What each stage computes, in order.
using ComputeOrders = Table<StageId, std::vector<Computation>>;

/// What one microbatch costs on one chunk. Ticks of any length; a backward that is not split lasts as long as both
/// parts.
struct ComputationCosts {
    std::int64_t forward = 1;
    std::int64_t backward_input = 1;
    std::int64_t backward_weight = 1;
    std::int64_t stash_bytes = 1;     // kept from forward to backward, the input included
    std::int64_t deferred_bytes = 1;  // kept from the input to the weight part of the backward

    bool operator==(const ComputationCosts&) const = default;
};

/// By chunk.
using CostsOfChunks = Table<ChunkId, ComputationCosts>;

/// How many microbatches stage `stage` holds between forward and backward at most, in the backward-first order for
/// bound K: min(K, p − r) for K ≤ p, p − r + min(K − p, p − r − 1) above (DESIGN §4).
int in_flight_limit(StageId stage, int stages, int active_microbatches);

/// All forwards, then all backwards, both in ascending order of microbatches: every microbatch is active at once (K =
/// microbatches).
ComputeOrders simple_orders(int stages, int microbatches);

/// Backward-first one-forward-one-backward: a stage runs a backward as soon as there is one, else a forward if that
/// keeps it within in_flight_limit. Messages are taken to last no time. For K ≥ p and even costs this is the classic
/// order (warm-up to the limit, then backward and forward in turns); below, it keeps the K microbatches together, so
/// that with unit costs F, B the step lasts (F + B)·(p·(⌊(m−1)/k⌋ + 1) + (m−1) mod k), k = min(K, p): the ideal m·(F +
/// B) plus (p−1)·(F + B) at k = p. K is clamped to `microbatches`. `costs` has one entry a stage; empty: unit costs.
ComputeOrders interleaved_orders(int stages, int microbatches, int active_microbatches,
                                 const CostsOfChunks& costs = {});

/// How many microbatches, counted on each of its chunks, stage `stage` holds between forward and backward at most, in
/// the chunked order: (v−1)·g + 2(p−r−1) + 1. (The least that does not stall is (v−1)·g + p−r; the others hide the
/// latency of messages. Narayanan et al., "Efficient large-scale language model training", section 2.2.)
int chunked_limit(StageId stage, int stages, int chunks_per_stage, int largest_group);

/// Microbatches that the chunked order sends together at most: p, and what is left over of whole groups of p.
int largest_chunked_group(int stages, int microbatches);

/// Several chunks a stage, dealt out in turn. Microbatches go in groups of p to 2p − 1 (or all m, where m < p):
/// a group passes the first chunk of each stage, then the second, …, and back the other way round; a stage runs the
/// next forward of that order as soon as it is there within chunked_limit, else the next backward. Never deadlocks: a
/// group is at most K microbatches, so all of it can pass. With F:B = 1:2 and m a multiple of p the step lasts v·m·(F +
/// B) + (p−1)·(F + B), in costs of one chunk; otherwise less than for the next multiple. Throws std::logic_error for K
/// < min(m, 2p).
ComputeOrders chunked_orders(int stages, int chunks_per_stage, int microbatches, int active_microbatches,
                             const CostsOfChunks& costs = {});

/// Backward split into its input and weight parts: forwards within in_flight_limit, else input parts, else weight
/// parts, which fill the time in which neither can run. With unit costs and m ≥ p = K it lasts as long as H1 (Qi et
/// al., "Zero bubble pipeline parallelism", section 2): m·(F + B) + (p−1)·(F + B − 2W), B the whole backward. What a
/// stage holds (stash_bytes of microbatches between forward and input part, deferred_bytes of those between the parts)
/// stays within zero_bubble_bound: weight parts come first where a forward would break it.
ComputeOrders zero_bubble_orders(int stages, int microbatches, int active_microbatches,
                                 const CostsOfChunks& costs = {});

/// As many microbatches' stashes on each stage as the first stage holds with a backward that is not split, in bytes of
/// stage `stage`: the activations of 1F1B's fullest stage. Never less than one microbatch's stash, or what it leaves.
std::int64_t zero_bubble_bound(StageId stage, int stages, int active_microbatches, const ComputationCosts& costs);

/// What training_orders makes orders for.
struct ScheduledJob {
    int stages = 1, chunks_per_stage = 1;
    int microbatches = 1, active_microbatches = 1;
};

/// Those of a schedule by its name. `costs` of each chunk decide where a schedule splits its backwards; `measured`, or
/// none, where any costs give an order that can run. Throws std::logic_error as the functions above do.
ComputeOrders training_orders(PipelineSchedule schedule, const ScheduledJob& job, const CostsOfChunks& costs,
                              const CostsOfChunks& measured);

/// Forwards only, in ascending order of microbatches; with several chunks a stage, in groups of p microbatches.
ComputeOrders forward_only_orders(int stages, int microbatches, int chunks_per_stage = 1);

}  // namespace smp::partition
