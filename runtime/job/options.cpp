#include "runtime/job/options.h"

#include <algorithm>
#include <bit>

#include "partition/job/option_checks.h"

namespace smp::runtime {
namespace {

constexpr std::int64_t kMostSteps = std::int64_t{1} << 40;
constexpr std::int64_t kMostSequences = std::int64_t{1}
                                        << 31;  // a global batch; times a length it stays far inside 64 bits

constexpr std::int64_t kMostSampleTokens = 1'000'000;

void check_batch(const TrainingOptions& options, partition::OptionChecks& checks) {
    const auto within = [](const std::optional<std::int64_t>& value, std::int64_t most) {
        return !value || (*value >= 1 && *value <= most);
    };
    const std::string allowed = fmt::format("from 1 to {}", kMostSequences);
    checks.require("batch_size", options.batch_size, within(options.batch_size, kMostSequences), allowed);
    checks.require("global_batch_size", options.global_batch_size, within(options.global_batch_size, kMostSequences),
                   allowed);
    if (options.batch_size && options.global_batch_size) {
        checks.conflict("batch_size", options.batch_size,
                        fmt::format("excludes training.global_batch_size, which is {}", *options.global_batch_size),
                        "keep one of the two");
    } else if (!options.batch_size && !options.global_batch_size) {
        checks.conflict("global_batch_size", options.global_batch_size, "the size of a batch is missing",
                        "set training.global_batch_size (sequences a step) or training.batch_size");
    }
}

void check_loss_scale(const TrainingOptions& options, partition::OptionChecks& checks) {
    const auto is_scale = [](std::int64_t scale) {
        return scale >= 1 && scale <= LossScaleOptions::kMost && std::has_single_bit(static_cast<std::uint64_t>(scale));
    };
    const LossScaleOptions scale = options.loss_scale.value_or(LossScaleOptions{});
    checks.require("loss_scale", options.loss_scale,
                   is_scale(scale.initial) && is_scale(scale.minimum) && scale.minimum <= scale.initial &&
                       scale.growth_interval >= 1 && scale.hysteresis >= 1,
                   "initial and minimum powers of two from 1 to 2^60, minimum not above initial, growth_interval and "
                   "hysteresis 1 or more");
}

void check_sampling(const TrainingOptions& options, partition::OptionChecks& checks) {
    checks.between("sample_tokens", options.sample_tokens, std::int64_t{0}, kMostSampleTokens);
    checks.positive_in_fp32("sample_temperature", options.sample_temperature);
    if (options.sample_tokens > 0 && options.evaluate_every == 0) {
        checks.conflict("sample_tokens", options.sample_tokens,
                        "text is drawn after each evaluation, but training.evaluate_every is 0",
                        "set training.evaluate_every, or leave sample_tokens out");
    }
}

}  // namespace

std::string shown(const LossScaleOptions& options) {
    return fmt::format(R"({{"initial":{},"growth_interval":{},"hysteresis":{},"minimum":{}}})", options.initial,
                       options.growth_interval, options.hysteresis, options.minimum);
}

void check(const TrainingOptions& options, partition::OptionChecks& checks) {
    const std::int64_t one = 1;
    checks.between("steps", options.steps, one, kMostSteps);
    checks.require("sequence_length", options.sequence_length, options.sequence_length.value_or(1) >= 1,
                   "from 1 to model.n_positions");
    check_batch(options, checks);
    checks.zero_or_positive_in_fp32("learning_rate", options.learning_rate);
    const double least = options.min_learning_rate.value_or(0);
    checks.require("min_learning_rate", options.min_learning_rate,
                   least == 0 || (least >= checks.kLeastInFp32 && least <= checks.kMostInFp32),
                   "from 0 to training.learning_rate, as fp32 has them");
    if (minimum_learning_rate(options) > options.learning_rate && options.learning_rate >= 0) {
        checks.conflict("min_learning_rate", options.min_learning_rate,
                        fmt::format("must not be above training.learning_rate, which is {}", options.learning_rate),
                        "lower it, or leave it out");
    }
    checks.at_least("warmup_steps", options.warmup_steps, std::int64_t{0});
    if (options.steps >= 1 && options.warmup_steps > options.steps) {
        checks.conflict("warmup_steps", options.warmup_steps,
                        fmt::format("must not be above training.steps, which is {}", options.steps), "lower it");
    }
    checks.fraction_in_fp32("beta1", options.beta1);
    checks.fraction_in_fp32("beta2", options.beta2);
    checks.positive_in_fp32("epsilon", options.epsilon);
    checks.zero_or_positive_in_fp32("weight_decay", options.weight_decay);
    checks.zero_or_positive_in_fp32("gradient_clip_norm", options.gradient_clip_norm);
    checks.at_least("evaluate_every", options.evaluate_every, std::int64_t{0});
    checks.between("evaluation_batches", options.evaluation_batches, one, kMostSequences);
    check_sampling(options, checks);
    check_loss_scale(options, checks);
}

std::vector<partition::Problem> validate(const TrainingOptions& options) {
    partition::OptionChecks checks("training");
    check(options, checks);
    return checks.problems();
}

std::int64_t sequence_length(const TrainingOptions& training, std::int64_t longest) {
    return training.sequence_length.value_or(longest);
}

std::int64_t global_batch(const TrainingOptions& training, const partition::ParallelOptions& parallel, int rdp) {
    if (training.global_batch_size) return *training.global_batch_size;
    const int group = parallel.prescaled_batch ? 1 : parallel.tensor_parallel_degree;
    return training.batch_size.value_or(0) * rdp * group;
}

double minimum_learning_rate(const TrainingOptions& training) {
    return training.min_learning_rate.value_or(training.learning_rate / 10);
}

void check(const DataOptions& options, partition::OptionChecks& checks) {
    checks.require("train", options.train, !options.train.empty(), "not empty");
    checks.fraction("validation_fraction", options.validation_fraction);
    if (!options.validation.empty() && options.validation_fraction > 0) {
        checks.conflict("validation_fraction", options.validation_fraction, "excludes data.validation",
                        "keep one of the two");
    }
    const int width = options.token_bytes.value_or(2);
    checks.require("token_bytes", options.token_bytes, width == 2 || width == 4 || width == 8, "2, 4 or 8");
    if (options.token_bytes && options.format != DataFormat::automatic && options.format != DataFormat::nanogpt) {
        checks.conflict(
            "token_bytes", options.token_bytes,
            fmt::format("data.format = \"{}\" says itself how wide its tokens are", partition::word_of(options.format)),
            "set data.format = \"nanogpt\", or leave token_bytes out");
    }
    if (!options.tokenizer_file.empty() && options.tokenizer == Tokenizer::bytes) {
        checks.conflict("tokenizer_file", options.tokenizer_file, "data.tokenizer = \"bytes\" reads no vocabulary",
                        "set data.tokenizer = \"gpt2\", or leave tokenizer_file out");
    }
}

std::vector<partition::Problem> validate(const DataOptions& options) {
    partition::OptionChecks checks("data");
    check(options, checks);
    return checks.problems();
}

bool has_validation_data(const DataOptions& data) { return !data.validation.empty() || data.validation_fraction > 0; }

void check(const CheckpointOptions& options, partition::OptionChecks& checks) {
    checks.between("every", options.every, std::int64_t{0}, kMostSteps);
    checks.between("keep", options.keep, std::int64_t{1}, kMostSteps);
}

void check(const LoggingOptions& options, partition::OptionChecks& checks) {
    checks.at_least("every", options.every, std::int64_t{1});
    const auto& traced = options.trace_steps;
    checks.require("trace_steps", traced,
                   std::all_of(traced.begin(), traced.end(), [](auto step) { return step >= 1; }),
                   "a list of steps, the first of which is 1");
    checks.require("prometheus_port", options.prometheus_port,
                   options.prometheus_port >= 0 && options.prometheus_port <= 65535,
                   "a port from 1 to 65535, or 0 for none");
}

std::vector<partition::Problem> validate(const LoggingOptions& options) {
    partition::OptionChecks checks("logging");
    check(options, checks);
    return checks.problems();
}

}  // namespace smp::runtime
