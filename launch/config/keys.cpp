#include "launch/config/keys.h"

#include <algorithm>
#include <array>
#include <utility>

#include "launch/config/bind.h"
#include "launch/config/nearest.h"
#include "models/gpt2/hugging_face.h"

namespace smp::launch {

/// Members that are left out have their defaults.
template <>
struct Codec<runtime::LossScaleOptions> {
    using Options = runtime::LossScaleOptions;
    static constexpr std::array<std::pair<const char*, std::int64_t Options::*>, 4> kMembers = {{
        {"initial", &Options::initial},
        {"growth_interval", &Options::growth_interval},
        {"hysteresis", &Options::hysteresis},
        {"minimum", &Options::minimum},
    }};

    static std::string type() { return "an object with integers initial, growth_interval, hysteresis and minimum"; }
    static std::optional<Refusal> read(const Json& value, Options& out) {
        if (!value.is_object()) return Refusal{"must be " + type()};
        std::vector<std::string> names;
        for (const auto& [name, member] : kMembers) names.emplace_back(name);
        Options options;
        for (const auto& [name, given] : value.items()) {
            const auto* member = std::find_if(kMembers.begin(), kMembers.end(),
                                              [&, key = name](const auto& known) { return key == known.first; });
            if (member == kMembers.end())
                return Refusal{fmt::format("must be {}, and has \"{}\"", type(), name),
                               suggestion(nearest(name, names))};
            if (const auto refusal = Codec<std::int64_t>::read(given, options.*(member->second)))
                return Refusal{fmt::format("must be {}, and its {} {}", type(), name, refusal->why), refusal->remedy};
        }
        out = options;
        return std::nullopt;
    }
    static Json write(const Options& options) {
        Json object = Json::object();
        for (const auto& [name, member] : kMembers) object[name] = options.*member;
        return object;
    }
};

namespace {

/// Read before all other keys, by load_config: they override what it stands for.
Key preset_key() {
    return {.section = "model",
            .name = "preset",
            .type = "the name of a preset or the path of a Hugging Face config.json",
            .nullable = true,
            .doc = "a model's shape; keys beside it override it",
            .takes_text = true,
            .read = [](Config&, const Json&, const std::filesystem::path&) { return std::optional<Refusal>{}; }};
}

/// Hugging Face has several names for the one that is here.
Key activation_key() {
    Key key = only("model", "activation_function", "gelu_new", "must be \"gelu_new\" (the tanh form)",
                   "activation of the MLP (gelu_pytorch_tanh and gelu_fast are the same)");
    key.read = [exact = key.read](Config& config, const Json& value, const std::filesystem::path& base) {
        const bool is_same =
            std::ranges::any_of(models::kGpt2Activations, [&](std::string_view name) { return value == name; });
        return exact(config, is_same ? Json("gelu_new") : value, base);
    };
    return key;
}

std::vector<Key> model_keys() {
    using O = models::Gpt2Options;
    const Section<O> s{"model", &Config::gpt2};
    return {
        preset_key(),
        s.required("n_layer", &O::n_layer, "transformer layers"),
        s.required("n_head", &O::n_head, "attention heads; on CUDA of up to 128 columns each"),
        s.required("n_embd", &O::n_embd, "width of the residual stream"),
        s.option("n_positions", &O::n_positions, "longest sequence"),
        s.option("vocab_size", &O::vocab_size, "tokens of the vocabulary"),
        s.option("n_inner", &O::n_inner, "width of the MLP; null: 4 * n_embd"),
        s.option("layer_norm_epsilon", &O::layer_norm_epsilon, "added to the variance in LayerNorm"),
        s.option("tie_word_embeddings", &O::tie_word_embeddings, "whether the head uses the token embedding"),
        activation_key(),
        s.option("embd_pdrop", &O::embd_pdrop, "dropout after the embeddings"),
        s.option("resid_pdrop", &O::resid_pdrop, "dropout before each residual sum"),
        s.option("attn_pdrop", &O::attn_pdrop, "dropout of attention weights"),
        s.option("initializer_range", &O::initializer_range, "standard deviation of initial weights"),
    };
}

std::vector<Key> parallel_keys() {
    using O = partition::ParallelOptions;
    const Section<O> s{"parallel", &Config::parallel};
    Key stages = s.option("pipeline_parallel_degree", &O::pipeline_parallel_degree, "stages");
    stages.alias = "partitions";
    return {
        stages,
        s.option("tensor_parallel_degree", &O::tensor_parallel_degree, "shards of a layer"),
        s.option("microbatches", &O::microbatches, "microbatches a step is split into"),
        s.option("active_microbatches", &O::active_microbatches,
                 "bound on microbatches in flight; null: all for \"simple\", 2 * stages with several chunks a stage, "
                 "else stages + 2, at most microbatches"),
        s.option("pipeline", &O::pipeline,
                 "schedule: all forwards first, backward first, or that with weight gradients put into the gaps"),
        s.option("virtual_pipeline_degree", &O::virtual_pipeline_degree,
                 "chunks of the model on each stage, with \"interleaved\""),
        s.option("placement_strategy", &O::placement_strategy,
                 "order of the axes over ranks, the right-most varies fastest"),
        s.option("optimize", &O::optimize,
                 "\"memory\": activations between layers are sharded over the tensor ranks too, by tokens"),
        s.option("auto_partition", &O::auto_partition, "assign layers to stages automatically"),
        s.option(
            "memory_weight", &O::memory_weight,
            "of memory against compute in the automatic assignment; null: 0.2 with optimize = \"speed\", else 0.8"),
        s.option("stage_layers", &O::stage_layers,
                 "layers of each stage (of each chunk, in order), with auto_partition = false"),
        s.option("prescaled_batch", &O::prescaled_batch,
                 "training.batch_size counts a tensor group's batch, not each rank's"),
        s.option("shard_optimizer_state", &O::shard_optimizer_state,
                 "ZeRO-1 over the ranks that hold the same parameters"),
        s.option("activation_checkpointing", &O::activation_checkpointing,
                 "recompute activations in the backward, so many layers at a time"),
        s.option("offload_activations", &O::offload_activations, "checkpointed activations live in host memory"),
        s.option("activation_loading_horizon", &O::activation_loading_horizon,
                 "and are brought back so many tasks (a group's forward or backward) ahead"),
        s.option("fp16", &O::fp16,
                 "16-bit values and activations, fp32 master weights and gradients, dynamic loss scaling"),
        s.option("bf16", &O::bf16, "the same with bf16's range, without loss scaling"),
        s.option("tensor_parallel_seed", &O::tensor_parallel_seed,
                 "mixed into the dropout keys of sites that tensor parallelism shards"),
    };
}

std::vector<Key> training_keys() {
    using O = runtime::TrainingOptions;
    const Section<O> s{"training", &Config::training};
    return {
        s.required("steps", &O::steps, "training steps"),
        s.option("sequence_length", &O::sequence_length, "tokens of a sequence; null: model.n_positions"),
        s.option("batch_size", &O::batch_size,
                 "sequences a step on each data-parallel rank, see parallel.prescaled_batch"),
        s.option("global_batch_size", &O::global_batch_size, "sequences a step; this or batch_size"),
        s.option("seed", &O::seed, "of initial weights, dropout, data order and samples"),
        s.option("learning_rate", &O::learning_rate, "after the warm-up"),
        s.option("min_learning_rate", &O::min_learning_rate, "at the end; null: a tenth of learning_rate"),
        s.option("warmup_steps", &O::warmup_steps, "updates of linear warm-up"),
        s.option("schedule", &O::schedule, "way from learning_rate to min_learning_rate"),
        s.option("beta1", &O::beta1, "AdamW"),
        s.option("beta2", &O::beta2, "AdamW"),
        s.option("epsilon", &O::epsilon, "AdamW"),
        s.option("weight_decay", &O::weight_decay, "AdamW, on tensors with two dimensions or more only"),
        s.option("gradient_clip_norm", &O::gradient_clip_norm, "largest norm of all gradients; 0: off"),
        s.path("initial_weights", &O::initial_weights, "Hugging Face safetensors file or directory"),
        s.option("evaluate_every", &O::evaluate_every, "steps between evaluations; 0: none"),
        s.option("evaluation_batches", &O::evaluation_batches,
                 "batches of validation data in an evaluation, always the first"),
        s.option("sample_tokens", &O::sample_tokens, "tokens of text drawn after each evaluation; 0: none"),
        s.option("sample_prompt", &O::sample_prompt, "text they go on from"),
        s.option("sample_temperature", &O::sample_temperature, "of the draw"),
        s.option("deterministic", &O::deterministic, "same bits on GPUs too, at a cost; CPUs always keep them"),
        s.option("loss_scale", &O::loss_scale, "of fp16: doubled after good steps, halved after overflows"),
    };
}

std::vector<Key> data_keys() {
    using O = runtime::DataOptions;
    const Section<O> s{"data", &Config::data};
    Key train = s.path("train", &O::train, "file or glob of files, in the order of their names");
    train.required = true;
    train.nullable = false;
    return {
        train,
        s.path("validation", &O::validation, "file or glob of files"),
        s.option("validation_fraction", &O::validation_fraction, "tail of train to validate on instead"),
        s.option("format", &O::format, "of the files"),
        s.option("token_bytes", &O::token_bytes,
                 "of one token in nanogpt files; null: 2 for a vocabulary of up to 65536, else 4"),
        s.option("tokenizer", &O::tokenizer, "for text, whose tokens are kept in the run's tokens/"),
        s.path("tokenizer_file", &O::tokenizer_file, "vocabulary instead of the built-in one"),
        s.option("order", &O::order, "of samples in an epoch"),
    };
}

std::vector<Key> checkpoint_keys() {
    using O = runtime::CheckpointOptions;
    const Section<O> s{"checkpoint", &Config::checkpoint};
    return {
        s.option("every", &O::every, "steps between checkpoints; 0: at the end only"),
        s.option("keep", &O::keep, "checkpoints to keep, the newest"),
        s.path("directory", &O::directory, "where they lie; null: checkpoints/ in the output directory"),
        s.option("asynchronous", &O::asynchronous, "write them beside the training"),
        s.option("export", &O::export_model, "a Hugging Face folder at the end: model/ in the output directory"),
    };
}

std::vector<Key> cluster_keys() {
    using O = partition::ClusterOptions;
    const Section<O> s{"cluster", &Config::cluster};
    return {
        s.option("device", &O::device, "what computes; auto: cuda where every rank has a device of its own, else cpu"),
        s.option("share_devices", &O::share_devices,
                 "several ranks, threads of a process, on one CUDA device: for tests"),
        s.option("nodes", &O::nodes, "machines; above 1 they must be the hosts that the ranks are on"),
        s.option("devices_per_node", &O::devices_per_node, "ranks on each; null: what one replica of the model needs"),
        not_yet("cluster", "device_kind", nullptr, "kind of device, for durations"),
        s.option("memory_limit_gib", &O::memory_limit_gib, "of a rank's tensors; null: what the machine has"),
        s.option("threads_per_rank", &O::threads_per_rank, "null: the machine's cores over its ranks"),
        s.option("timeout_seconds", &O::timeout_seconds, "of any one wait for another rank"),
        s.option("startup_timeout_seconds", &O::startup_timeout_seconds, "of the wait for all ranks to appear"),
    };
}

std::vector<Key> logging_keys() {
    using O = runtime::LoggingOptions;
    const Section<O> s{"logging", &Config::logging};
    return {
        s.option("every", &O::every, "steps between printed lines"),
        s.option("level", &O::level, "least weight of a message that is printed"),
        s.option("all_ranks", &O::all_ranks, "every rank writes a log"),
        s.option("trace_steps", &O::trace_steps, "steps, from 1, to record a timeline of, in trace.json"),
        s.option("tensorboard", &O::tensorboard, "the metrics as curves for TensorBoard, in tensorboard/"),
        s.option("prometheus_port", &O::prometheus_port,
                 "port of rank 0's host at which Prometheus finds the metrics, /metrics; 0: none"),
    };
}

}  // namespace

const std::vector<Key>& configuration_keys() {
    static const std::vector<Key> keys = [] {
        std::vector<Key> all;
        for (const auto& section : {model_keys(), parallel_keys(), pasted_keys(), training_keys(), data_keys(),
                                    checkpoint_keys(), cluster_keys(), logging_keys()}) {
            all.insert(all.end(), section.begin(), section.end());
        }
        return all;
    }();
    return keys;
}

const std::vector<std::string>& configuration_sections() {
    static const std::vector<std::string> sections = [] {
        std::vector<std::string> names;
        for (const Key& key : configuration_keys()) {
            if (std::find(names.begin(), names.end(), key.section) == names.end()) names.push_back(key.section);
        }
        return names;
    }();
    return sections;
}

const Key* find_key(const std::string& section, const std::string& name) {
    const auto& keys = configuration_keys();
    const auto found = std::find_if(keys.begin(), keys.end(), [&](const Key& key) {
        return key.section == section && (key.name == name || (!key.alias.empty() && key.alias == name));
    });
    return found == keys.end() ? nullptr : &*found;
}

}  // namespace smp::launch
