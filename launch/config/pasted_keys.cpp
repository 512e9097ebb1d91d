#include "launch/config/bind.h"
#include "launch/config/keys.h"

namespace smp::launch {
namespace {

constexpr const char* kNoSharding = "parameters are not sharded over data-parallel ranks";

using Judge = std::function<std::optional<Refusal>(const Json&)>;

Key pasted(const std::string& name, const std::string& type, const Judge& judge,
           const std::string& why_nothing_changes) {
    return {.section = "parallel",
            .name = name,
            .type = type,
            .doc = "changes nothing: " + why_nothing_changes,
            .takes_text = type.front() == '"',
            .read = [=](Config& config, const Json& value, const std::filesystem::path&) {
                auto refusal = judge(value);
                if (!refusal) {
                    config.notes.push_back(
                        fmt::format("parallel.{} = {} changes nothing: {}", name, value.dump(), why_nothing_changes));
                }
                return refusal;
            }};
}

template <typename T>
std::optional<Refusal> readable_as(const Json& value) {
    T ignored{};
    return Codec<T>::read(value, ignored);
}

/// One of SageMaker's switches that is always on or never needed here.
Key pasted_switch(const std::string& name, const std::string& why_nothing_changes) {
    return pasted(name, Codec<bool>::type(), readable_as<bool>, why_nothing_changes);
}

std::optional<Refusal> judge_backend(const Json& value) {
    if (value == "auto" || value == "nccl" || value == "mpi") return std::nullopt;
    return Refusal{"must be \"auto\", \"nccl\" or \"mpi\"",
                   "leave it out: what carries messages follows cluster.device and mpirun"};
}

std::optional<Refusal> judge_horovod(const Json& value) {
    if (value == false) return std::nullopt;
    return Refusal{
        "must be false: there is no Horovod here",
        "leave it out: all ranks beyond pipeline x tensor degree are data-parallel, start as many with mpirun -np"};
}

std::optional<Refusal> judge_sharded_degree(const Json& value) {
    if (value == 1) return std::nullopt;
    return Refusal{"must be 1: parameters are not sharded over data-parallel ranks here",
                   "leave it out; parallel.shard_optimizer_state is the way to share memory between them"};
}

/// Of SageMaker's fp16_params: true asks for half-precision parameters, as fp16 does here.
std::optional<Refusal> judge_fp16_params(const Json& value) {
    bool asked = false;
    if (auto refusal = Codec<bool>::read(value, asked)) return refusal;
    if (!asked) return std::nullopt;
    return Refusal{"must be false: it is SageMaker's older name of fp16", "set parallel.fp16 = true"};
}

std::optional<Refusal> judge_contiguous(const Json& value) {
    if (value == true) return std::nullopt;
    return Refusal{"must be true: a stage holds layers that follow one another",
                   "leave it out; parallel.virtual_pipeline_degree gives each stage several such runs"};
}

/// Of SageMaker v2's degrees for what is not here.
std::optional<Refusal> judge_degree_of_one(const Json& value) {
    if (value == 1) return std::nullopt;
    return Refusal{"must be 1: there is no such parallelism here",
                   "leave it out; parallel.tensor_parallel_degree and pipeline_parallel_degree cut the model"};
}

std::optional<Refusal> judge_activation_offloading(const Json& value) {
    bool asked = false;
    if (auto refusal = Codec<bool>::read(value, asked)) return refusal;
    if (!asked) return std::nullopt;
    return Refusal{"must be false: it has another name here",
                   "set parallel.offload_activations = true, and parallel.activation_checkpointing"};
}

std::optional<Refusal> judge_default_partition(const Json& value) {
    std::optional<int> stage;
    if (auto refusal = Codec<std::optional<int>>::read(value, stage)) return refusal;
    if (stage.value_or(0) < 0) return Refusal{"must be 0 or more"};
    return std::nullopt;
}

}  // namespace

std::vector<Key> pasted_keys() {
    return {
        pasted("default_partition", "an integer, or null", judge_default_partition,
               "every layer has a stage, automatically or by parallel.stage_layers"),
        pasted_switch("ddp", "all ranks beyond pipeline x tensor degree are data-parallel"),
        pasted("ddp_dist_backend", "\"auto\", \"nccl\" or \"mpi\"", judge_backend,
               "NCCL carries messages between GPUs, MPI or memory those between CPUs"),
        pasted("ddp_port", Codec<int>::type(), readable_as<int>, "MPI finds the ranks"),
        pasted_switch("skip_tracing", "the model is known, nothing is traced"),
        pasted_switch("delayed_parameter_initialization", "each rank makes its own part of the weights only"),
        pasted_switch("deterministic_server", "every rank derives the same plan"),
        pasted("horovod", "false", judge_horovod, "there is no Horovod here"),
        pasted("sharded_data_parallel_degree", "1", judge_sharded_degree, "1 shares nothing"),
        pasted("sdp_reduce_bucket_size", Codec<double>::type(), readable_as<double>, kNoSharding),
        pasted("sdp_param_persistence_threshold", Codec<double>::type(), readable_as<double>, kNoSharding),
        pasted("sdp_max_live_parameters", Codec<double>::type(), readable_as<double>, kNoSharding),
        pasted_switch("sdp_hierarchical_allgather", kNoSharding),
        pasted("sdp_gradient_clipping", Codec<double>::type(), readable_as<double>,
               std::string(kNoSharding) + "; training.gradient_clip_norm clips gradients"),
        pasted("fp16_params", "false", judge_fp16_params, "parallel.fp16 is what asks for half precision"),
        pasted("contiguous", "true", judge_contiguous, "a stage always holds layers that follow one another"),
        pasted_switch("fast_mode", "activations always go from stage to stage directly"),
        pasted_switch("static_mode", "the plan is fixed before the first step"),
        pasted("hybrid_shard_degree", "1", judge_sharded_degree, "1 shares nothing"),
        pasted("sm_activation_offloading", "false", judge_activation_offloading,
               "parallel.offload_activations is what asks for it"),
        pasted("expert_parallel_degree", "1", judge_degree_of_one, "the model has no experts"),
        pasted("context_parallel_degree", "1", judge_degree_of_one, "sequences are not cut over ranks but by optimize"),
    };
}

}  // namespace smp::launch
