// Sections `training`, `data`, `checkpoint` and `logging` of a configuration. Field names are the configuration's keys.
// No LibTorch. Features that are still to come have no field here; the configuration accepts their keys at the off
// value only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "partition/job/options.h"
#include "partition/job/problem.h"
#include "partition/job/words.h"

namespace smp::runtime {

enum class LearningRateSchedule { cosine, linear, constant };

/// Of fp16: see LossScale.
struct LossScaleOptions {
    /// The largest scale: beyond it products of fp32 come into danger, and nothing is won.
    static constexpr std::int64_t kMost = std::int64_t{1} << 60;

    std::int64_t initial = 1 << 16;       // as minimum a power of two
    std::int64_t growth_interval = 1000;  // steps without an overflow
    std::int64_t hysteresis = 2;          // overflows, of which the last halves the scale
    std::int64_t minimum = 1;

    bool operator==(const LossScaleOptions&) const = default;
};
/// As JSON.
std::string shown(const LossScaleOptions& options);

struct TrainingOptions {
    std::int64_t steps = 0;                         // required; 0: not given
    std::optional<std::int64_t> sequence_length;    // T; not given: see sequence_length()
    std::optional<std::int64_t> batch_size;         // exactly one of these two; see global_batch()
    std::optional<std::int64_t> global_batch_size;  // sequences a step
    std::uint64_t seed = 1;
    double learning_rate = 6e-4;
    std::optional<double> min_learning_rate;  // not given: see minimum_learning_rate()
    std::int64_t warmup_steps = 0;
    LearningRateSchedule schedule = LearningRateSchedule::cosine;
    double beta1 = 0.9;
    double beta2 = 0.95;
    double epsilon = 1e-8;
    double weight_decay = 0.1;        // on tensors with two dimensions or more only
    double gradient_clip_norm = 1.0;  // 0: off
    std::string
        initial_weights;  // absolute path of a safetensors file or a directory with some; empty: keyed random weights
    std::int64_t evaluate_every = 0;  // steps; 0: never
    std::int64_t evaluation_batches = 10;
    std::int64_t sample_tokens = 0;  // drawn after each evaluation; 0: none
    std::string sample_prompt;
    double sample_temperature = 1.0;
    bool deterministic = false;                  // CPUs always are
    std::optional<LossScaleOptions> loss_scale;  // with parallel.fp16 only; not given: LossScaleOptions's defaults

    bool operator==(const TrainingOptions&) const = default;
};

/// What each field may be and, beside it, what these options break. Keys are paths: "training.steps".
void check(const TrainingOptions& options, partition::OptionChecks& checks);
std::vector<partition::Problem> validate(const TrainingOptions& options);

/// T: as given, else the longest that the model takes.
std::int64_t sequence_length(const TrainingOptions& training, std::int64_t longest);

/// G, sequences a step: global_batch_size as given, else batch_size · rdp · (1 if prescaled_batch else tensor degree).
std::int64_t global_batch(const TrainingOptions& training, const partition::ParallelOptions& parallel, int rdp);

/// As given, else a tenth of learning_rate.
double minimum_learning_rate(const TrainingOptions& training);

/// automatic: an `.idx` beside the `.bin` is megatron, llm.c's magic llmc, another `.bin` nanogpt, anything else text.
enum class DataFormat { automatic, text, nanogpt, llmc, megatron };
enum class Tokenizer { bytes, gpt2 };
enum class DataOrder { shuffled, sequential };

struct DataOptions {
    std::string train;               // absolute path or glob; required; empty: not given
    std::string validation;          // likewise; empty: none
    double validation_fraction = 0;  // the tail of train instead, 0 ≤ f < 1
    DataFormat format = DataFormat::automatic;
    std::optional<int> token_bytes;  // of one token in a nanogpt file: 2, 4 or 8; not given: 2 if the vocabulary fits
    Tokenizer tokenizer = Tokenizer::bytes;
    std::string tokenizer_file;  // absolute path; empty: the built-in vocabulary
    DataOrder order = DataOrder::shuffled;

    bool operator==(const DataOptions&) const = default;
};

void check(const DataOptions& options, partition::OptionChecks& checks);
std::vector<partition::Problem> validate(const DataOptions& options);

bool has_validation_data(const DataOptions& data);

struct CheckpointOptions {
    std::int64_t every = 0;  // steps; 0: at the end only
    std::int64_t keep = 3;   // the newest
    std::string directory;   // absolute path; empty: smp_train's are in its output directory, a Session writes none
    bool asynchronous = true;
    bool export_model = false;  // "export": smp_train writes a Hugging Face folder after the last step

    bool operator==(const CheckpointOptions&) const = default;
};

void check(const CheckpointOptions& options, partition::OptionChecks& checks);

enum class LogLevel { debug, info, warning, error };

struct LoggingOptions {
    std::int64_t every = 1;  // steps between printed lines; metrics.jsonl has every step
    LogLevel level = LogLevel::info;
    bool all_ranks = false;                 // every rank writes its log file, not rank 0 alone
    std::vector<std::int64_t> trace_steps;  // steps, from 1, whose actions are recorded in trace.json
    bool tensorboard = true;                // event files of the metrics, in tensorboard/
    std::int64_t prometheus_port = 0;       // of rank 0's page of metrics, on all of its host's addresses; 0: none

    bool operator==(const LoggingOptions&) const = default;
};

void check(const LoggingOptions& options, partition::OptionChecks& checks);
std::vector<partition::Problem> validate(const LoggingOptions& options);

}  // namespace smp::runtime

namespace smp::partition {

template <>
struct Words<runtime::LearningRateSchedule> {
    static constexpr std::array<std::string_view, 3> list = {"cosine", "linear", "constant"};
};
template <>
struct Words<runtime::DataFormat> {
    static constexpr std::array<std::string_view, 5> list = {"auto", "text", "nanogpt", "llmc", "megatron"};
};
template <>
struct Words<runtime::Tokenizer> {
    static constexpr std::array<std::string_view, 2> list = {"bytes", "gpt2"};
};
template <>
struct Words<runtime::DataOrder> {
    static constexpr std::array<std::string_view, 2> list = {"shuffled", "sequential"};
};
template <>
struct Words<runtime::LogLevel> {
    static constexpr std::array<std::string_view, 4> list = {"debug", "info", "warning", "error"};
};

}  // namespace smp::partition
