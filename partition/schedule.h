// Schedules as pure functions: from (stages, microbatches, bound K) to what each stage computes, in which order.
// Nothing here sends, waits or owns memory; partition/lowering.h adds all that. A new schedule is one more function
// here.
#pragma once

#include <vector>

#include "partition/action.h"

namespace smp::partition {

/// One compute action: `forward`, `backward`, … of one microbatch through one chunk.
struct ComputeStep {
    ActionKind kind = ActionKind::forward;
    int microbatch = 0;
    int chunk = 0;  // global chunk index; it lives on stage chunk mod stages

    bool operator==(const ComputeStep&) const = default;
};

/// Element r is what stage r computes, in order.
using ComputeOrders = std::vector<std::vector<ComputeStep>>;

/// How many microbatches stage `stage` holds between forward and backward at most, in the backward-first order for
/// bound K: min(K, p − r) for K ≤ p, p − r + min(K − p, p − r − 1) above (DESIGN §4).
int in_flight_limit(int stage, int stages, int active_microbatches);

/// All forwards, then all backwards, both in ascending order of microbatches: every microbatch is active at once (K =
/// microbatches).
ComputeOrders simple_orders(int stages, int microbatches);

/// Backward-first one-forward-one-backward: a stage runs a backward as soon as there is one, else a forward if that
/// keeps it within in_flight_limit. Backward passes are taken to last twice as long as forward passes and messages to
/// take no time. For K ≥ p this is the classic order (warm-up to the limit, then backward and forward in turns); below,
/// it keeps the K microbatches together, so that with unit costs F, B the step lasts (F + B)·(p·(⌊(m−1)/k⌋ + 1) + (m−1)
/// mod k), k = min(K, p): the ideal m·(F + B) plus (p−1)·(F + B) at k = p. K is clamped to `microbatches`.
ComputeOrders interleaved_orders(int stages, int microbatches, int active_microbatches);

/// Forwards only, in ascending order of microbatches.
ComputeOrders forward_only_orders(int stages, int microbatches);

}  // namespace smp::partition
