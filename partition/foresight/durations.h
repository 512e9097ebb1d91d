// What each action of a plan costs: modelled from the module graph, or measured. The simulator reads nothing else about
// time.
#pragma once

#include <cstdint>
#include <vector>

#include "partition/job/fields.h"
#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"

namespace smp::partition {

/// In ticks, whose length is the caller's (1 ns for modelled_durations).
/// A compute action keeps its stage's compute stream for `duration`, of which `exchange` is no work but waiting for the
/// tensor group. A send keeps its link (one for each ordered pair
/// of stages, shared by all channels) for `duration` and arrives `latency` later; the duration of a receive is not
/// read. A collective over the data-parallel group keeps the stage's link into that group for `duration` and ends
/// `latency` later. So do copies to and from host memory, each with a link of its own. A collective over the world
/// starts when all stages have come, and keeps each one's compute stream for `duration`.
struct ActionDuration {
    std::int64_t duration = 0;
    std::int64_t latency = 0;
    std::int64_t exchange = 0;

    bool operator==(const ActionDuration&) const = default;
};

/// By stage and position in its list.
using Durations = Table<StageId, Table<ActionId, ActionDuration>>;

/// How long a way is: bytes over its rate, and a latency.
struct Link {
    double bytes_per_second = 20e9;  // each direction
    double latency_seconds = 10e-6;

    bool operator==(const Link&) const = default;
};
template <>
struct Fields<Link> {
    static constexpr auto list = fields<Link>(stated("bytes_per_second", &Link::bytes_per_second),
                                              stated("latency_seconds", &Link::latency_seconds));
};

/// What a device and its links do. Achieved rates, not peaks: nothing is taken off for efficiency.
struct Rates {
    double flops_per_second = 100e12;
    Link between_nodes = {};
    Link inside_node = {.bytes_per_second = 200e9, .latency_seconds = 5e-6};
    double copy_bytes_per_second = 20e9;    // between device and host memory; each direction
    double memory_bytes_per_second = 1e12;  // durations the optimizer and sums, which read and write memory

    bool operator==(const Rates&) const = default;
};
template <>
struct Fields<Rates> {
    static constexpr auto list = fields<Rates>(
        stated("flops_per_second", &Rates::flops_per_second), stated("between_nodes", &Rates::between_nodes),
        stated("inside_node", &Rates::inside_node), stated("copy_bytes_per_second", &Rates::copy_bytes_per_second),
        stated("memory_bytes_per_second", &Rates::memory_bytes_per_second));
};

/// One tick is 1 ns. Compute: FLOPs over flops_per_second (backward_input: all of the backward but weight_flops;
/// backward_weight: weight_flops), and a latency a round and the bytes of its exchange with the tensor group. Messages:
/// bytes over their link. A link is one between nodes if any two ranks that use it for the action (in whatever pipeline
/// or group) lie on different nodes of `ranks_per_node`, consecutive ones (0: all on one). Reductions over rdp ranks:
/// 2·(rdp − 1)/rdp of the bytes, in and out of each rank, and two latencies (reduce-scatter and gather), none for rdp =
/// 1; half of that where optimizer states are sharded, whose other half is the gathering of parameters. Optimizer step:
/// 28 bytes of memory traffic a parameter of the rank, or of its shard (gradient, value and two moments read, the last
/// three written, fp32); in 16 bits 30, since the value is a fp32 master and a rounded one is written. Sums of tied
/// gradients: each copy read, one written. Offloads and prefetches: bytes over copy_bytes_per_second. `programs` are
/// the plan's training, evaluation or sampling. Throws std::logic_error for a rate that is not above 0, a latency below
/// 0, and actions that no plan has yet.
Durations modelled_durations(const Plan& plan, const Programs& programs, const ModuleGraph& graph, const Rates& rates,
                             int ranks_per_node = 0);

}  // namespace smp::partition
