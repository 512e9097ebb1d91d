// Sections `parallel` and `cluster` of a configuration: how the work is cut, and what it is cut for. Field names are
// the configuration's keys. Features that are still to come have no field here; the configuration accepts their keys at
// the off value only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "partition/job/pipeline_schedule.h"
#include "partition/job/precision.h"
#include "partition/job/problem.h"
#include "partition/job/topology.h"
#include "partition/job/words.h"

namespace smp::partition {

class OptionChecks;

/// What tensor parallelism spares: with `memory` the tokens of a microbatch are cut over the tensor ranks wherever
/// every rank would hold the same (sequence parallelism: Korthikanti et al. 2022, "Reducing Activation Recomputation in
/// Large Transformer Models", §4.2).
enum class Optimize { speed, memory };
template <>
struct Words<Optimize> {
    static constexpr std::array<std::string_view, 2> list = {"speed", "memory"};
};

struct ParallelOptions {
    int pipeline_parallel_degree = 1;
    int tensor_parallel_degree = 1;
    int microbatches = 1;                    // a step is split into, on each data-parallel rank
    std::optional<int> active_microbatches;  // bound on those in flight; not given: see active_microbatches()
    PipelineSchedule pipeline = PipelineSchedule::interleaved;
    int virtual_pipeline_degree = 1;  // chunks on each stage; above 1 where the schedule takes them
    std::string placement_strategy = "cluster";
    Optimize optimize = Optimize::speed;
    /// `none`, `each` (a layer), `contiguous` (all layers of a chunk) or `group_N` (N layers) are recomputed together;
    /// `selective`: in each layer what is cheap to compute.
    std::string activation_checkpointing = "none";
    bool offload_activations = false;    // checkpointed inputs live in host memory
    int activation_loading_horizon = 4;  // and come back so many tasks (a group's forward or backward) ahead of use
    bool shard_optimizer_state = false;  // ZeRO-1 over the ranks that hold the same parameters
    bool auto_partition = true;
    std::optional<double> memory_weight;  // of memory against compute in the automatic assignment; see memory_weight()
    std::vector<int> stage_layers;        // layers of each chunk, in order; with auto_partition = false only
    bool prescaled_batch = false;  // what training.batch_size counts: a tensor group's batch (true) or each rank's
    bool fp16 = false;             // at most one of these two; see precision_of()
    bool bf16 = false;
    std::uint64_t tensor_parallel_seed = 0;  // mixed into the dropout keys of sites that tensor parallelism shards

    bool operator==(const ParallelOptions&) const = default;
};

/// What each field may be and, beside it, what these options break. Keys are paths: "parallel.microbatches".
void check(const ParallelOptions& options, OptionChecks& checks);
std::vector<Problem> validate(const ParallelOptions& options);

/// fp32 unless one of fp16 and bf16 is set.
Precision precision_of(const ParallelOptions& options);

/// Chunks of the model: stages · virtual_pipeline_degree.
int chunk_count(const ParallelOptions& options);

/// Whether only what is cheap to compute is recomputed: no group then is.
bool recomputes_selectively(const ParallelOptions& options);
/// Layers that are recomputed together: 0 for none, as many as there are for `contiguous`. The option must be valid.
int checkpointed_layers(const ParallelOptions& options);

/// 0…1: as given, else 0.2 where `optimize` is `speed` and 0.8 where it is `memory`.
double memory_weight(const ParallelOptions& options);

/// K: as given, else `simple`: all microbatches; with several chunks a stage: 2 · stages; else stages + 2; clamped to
/// 1…microbatches.
int active_microbatches(const ParallelOptions& options);

/// Degrees of a world of `world` ranks: `rdp` is what the other two leave. Throws ConfigError if the world is no
/// positive multiple of pipeline times tensor degree.
Degrees degrees_in(const ParallelOptions& options, int world);

/// automatic: cuda where every rank has a device of its own, else cpu.
enum class Device { automatic, cpu, cuda };
template <>
struct Words<Device> {
    static constexpr std::array<std::string_view, 3> list = {"auto", "cpu", "cuda"};
};

struct ClusterOptions {
    Device device = Device::automatic;
    int nodes = 1;
    std::optional<int> devices_per_node;     // ranks on a node; not given: see devices_per_node()
    std::optional<double> memory_limit_gib;  // of a rank's device; not given: none but the machine's
    std::optional<int> threads_per_rank;  // not given: cores of the node / ranks on it, at least 1, as found at start
    double timeout_seconds = 600;         // any one wait
    double startup_timeout_seconds = 60;
    bool share_devices = false;  // several ranks, threads of a process, on one CUDA device

    bool operator==(const ClusterOptions&) const = default;
};

void check(const ClusterOptions& options, OptionChecks& checks);
std::vector<Problem> validate(const ClusterOptions& options);

/// As given, else what one model replica needs: pipeline degree · tensor degree / nodes, rounded up.
std::int64_t devices_per_node(const ClusterOptions& cluster, const ParallelOptions& parallel);

/// The world that the configuration describes: nodes · devices_per_node().
std::int64_t stated_world(const ClusterOptions& cluster, const ParallelOptions& parallel);

/// What speaks against running on `world` ranks: it is no multiple of pipeline · tensor degree, or contradicts a given
/// devices_per_node or nodes.
std::vector<Problem> validate_world(std::int64_t world, const ClusterOptions& cluster, const ParallelOptions& parallel);

}  // namespace smp::partition
