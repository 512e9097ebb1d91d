#include "partition/job/options.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>

#include "partition/job/option_checks.h"

namespace smp::partition {
namespace {

constexpr int kMostRanks = 1'000'000;  // keeps products of two degrees far inside an int
constexpr int kMostMicrobatches = 16'384;
constexpr int kMostThreads = 1024;
constexpr double kMostSeconds = 1e8;  // three years: in nanoseconds it stays inside 64 bits
constexpr int kMostChunksPerStage = 1'000;

bool is_placement(const std::string& text) {
    try {
        make_topology({}, text);
        return true;
    } catch (const ConfigError&) {
        return false;
    }
}

/// N of `group_N`; 0: it is no such word.
int layers_in_word(std::string_view word) {
    constexpr std::string_view kPrefix = "group_";
    if (!word.starts_with(kPrefix)) return 0;
    word.remove_prefix(kPrefix.size());
    int layers = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), layers);
    return error == std::errc() && end == word.data() + word.size() && word.front() != '0' ? std::max(layers, 0) : 0;
}

void check_checkpointing(const ParallelOptions& options, OptionChecks& checks) {
    const std::string& word = options.activation_checkpointing;
    const bool is_known =
        word == "none" || word == "each" || word == "contiguous" || word == "selective" || layers_in_word(word) > 0;
    checks.require("activation_checkpointing", word, is_known,
                   "\"none\", \"each\", \"contiguous\", \"selective\" or \"group_N\" for groups of N layers");
}

void check_stages(const ParallelOptions& options, OptionChecks& checks) {
    const auto& layers = options.stage_layers;
    checks.require("stage_layers", layers, std::all_of(layers.begin(), layers.end(), [](int n) { return n >= 0; }),
                   "counts of 0 or more");
    if (options.auto_partition && !layers.empty()) {
        checks.conflict("stage_layers", layers, "excludes automatic stage assignment",
                        "set parallel.auto_partition = false, or leave stage_layers out");
    }
    if (!options.auto_partition && layers.empty()) {
        checks.conflict("auto_partition", false, "needs the number of layers of each stage",
                        "set parallel.stage_layers, one entry for each stage (for each chunk, where a stage has "
                        "several): no script "
                        "assigns modules here, so SageMaker's default_partition has nothing to add to");
    }
}

/// With several chunks a stage there is one order of the steps, which needs min(microbatches, 2 · stages) of them
/// active.
void check_chunks(const ParallelOptions& options, OptionChecks& checks) {
    const int degree = options.virtual_pipeline_degree;
    checks.between("virtual_pipeline_degree", degree, 1, kMostChunksPerStage);
    if (degree <= 1) return;
    if (!facts_of(options.pipeline).takes_chunks) {
        checks.conflict("virtual_pipeline_degree", degree,
                        fmt::format("parallel.pipeline = \"{}\" has one chunk a stage", word_of(options.pipeline)),
                        "set parallel.pipeline = \"interleaved\", or leave virtual_pipeline_degree out");
        return;
    }
    const int least = std::min<std::int64_t>(options.microbatches, 2 * std::int64_t{options.pipeline_parallel_degree});
    if (options.active_microbatches && *options.active_microbatches >= 1 && *options.active_microbatches < least) {
        checks.conflict("active_microbatches", *options.active_microbatches,
                        fmt::format("with parallel.virtual_pipeline_degree = {} and {} stages at least {} of {} "
                                    "microbatches must be active: with fewer the chunks wait for each other",
                                    degree, options.pipeline_parallel_degree, least, options.microbatches),
                        fmt::format("set it to {}, or leave virtual_pipeline_degree out", least));
    }
}

}  // namespace

void check(const ParallelOptions& options, OptionChecks& checks) {
    checks.between("pipeline_parallel_degree", options.pipeline_parallel_degree, 1, kMostRanks);
    checks.between("tensor_parallel_degree", options.tensor_parallel_degree, 1, kMostRanks);
    checks.between("microbatches", options.microbatches, 1, kMostMicrobatches);
    checks.require("active_microbatches", options.active_microbatches, options.active_microbatches.value_or(1) >= 1,
                   "from 1 to parallel.microbatches");
    checks.require("placement_strategy", options.placement_strategy, is_placement(options.placement_strategy),
                   "\"cluster\" (= DPT), \"spread\" (= TPD) or any order of the letters D, P and T");
    checks.require("memory_weight", options.memory_weight,
                   options.memory_weight.value_or(0) >= 0 && options.memory_weight.value_or(0) <= 1, "from 0 to 1");
    check_stages(options, checks);
    check_chunks(options, checks);
    check_checkpointing(options, checks);
    checks.between("activation_loading_horizon", options.activation_loading_horizon, 1, 1'000'000);
    if (options.fp16 && options.bf16)
        checks.conflict("fp16", options.fp16, "excludes parallel.bf16, which is true", "keep one of the two");

    if (!options.active_microbatches) return;
    const int active = *options.active_microbatches;
    if (active > options.microbatches) {
        checks.conflict("active_microbatches", active,
                        fmt::format("must not be above parallel.microbatches, which is {}", options.microbatches),
                        "lower it, or leave it out");
    } else if (facts_of(options.pipeline).holds_all && active >= 1 && active < options.microbatches) {
        checks.conflict(
            "active_microbatches", active,
            fmt::format("parallel.pipeline = \"{}\" runs {}, so that all {} microbatches are active",
                        word_of(options.pipeline), facts_of(options.pipeline).meaning, options.microbatches),
            "leave active_microbatches out, or set parallel.pipeline = \"interleaved\"");
    }
}

std::vector<Problem> validate(const ParallelOptions& options) {
    OptionChecks checks("parallel");
    check(options, checks);
    return checks.problems();
}

Precision precision_of(const ParallelOptions& options) {
    if (options.bf16) return Precision::bf16;
    return options.fp16 ? Precision::fp16 : Precision::fp32;
}

int chunk_count(const ParallelOptions& options) {
    return options.pipeline_parallel_degree * options.virtual_pipeline_degree;
}

bool recomputes_selectively(const ParallelOptions& options) { return options.activation_checkpointing == "selective"; }

int checkpointed_layers(const ParallelOptions& options) {
    const std::string& word = options.activation_checkpointing;
    if (word == "none") return 0;
    if (word == "each") return 1;
    return word == "contiguous" ? std::numeric_limits<int>::max() : layers_in_word(word);
}

double memory_weight(const ParallelOptions& options) {
    return options.memory_weight.value_or(options.optimize == Optimize::speed ? 0.2 : 0.8);
}

int active_microbatches(const ParallelOptions& options) {
    if (options.active_microbatches) return *options.active_microbatches;
    if (facts_of(options.pipeline).holds_all) return options.microbatches;
    const int stages = options.pipeline_parallel_degree;
    const int wanted = options.virtual_pipeline_degree > 1 ? 2 * stages : stages + 2;
    return std::clamp(wanted, 1, std::max(1, options.microbatches));
}

Degrees degrees_in(const ParallelOptions& options, int world) {
    const std::int64_t replica = std::int64_t{options.pipeline_parallel_degree} * options.tensor_parallel_degree;
    if (world >= 1 && replica >= 1 && world % replica == 0) {
        return {.pp = options.pipeline_parallel_degree,
                .tp = options.tensor_parallel_degree,
                .rdp = static_cast<int>(world / replica)};
    }
    throw ConfigError(
        Problem{"parallel.pipeline_parallel_degree",
                fmt::format("= {}: with parallel.tensor_parallel_degree = {} the job needs a multiple of {} "
                            "ranks, but there are {}; start another number of ranks, or change the degrees",
                            options.pipeline_parallel_degree, options.tensor_parallel_degree, replica, world)});
}

void check(const ClusterOptions& options, OptionChecks& checks) {
    checks.between("nodes", options.nodes, 1, kMostRanks);
    checks.require("devices_per_node", options.devices_per_node,
                   options.devices_per_node.value_or(1) >= 1 && options.devices_per_node.value_or(1) <= kMostRanks,
                   fmt::format("from 1 to {}", kMostRanks));
    checks.require("threads_per_rank", options.threads_per_rank,
                   options.threads_per_rank.value_or(1) >= 1 && options.threads_per_rank.value_or(1) <= kMostThreads,
                   fmt::format("from 1 to {}", kMostThreads));
    if (options.memory_limit_gib)
        checks.require("memory_limit_gib", *options.memory_limit_gib,
                       *options.memory_limit_gib > 0 && *options.memory_limit_gib <= 1e6,
                       "above 0 and at most 1000000");
    checks.between("timeout_seconds", options.timeout_seconds, 1e-3, kMostSeconds);
    checks.between("startup_timeout_seconds", options.startup_timeout_seconds, 1e-3, kMostSeconds);
}

std::vector<Problem> validate(const ClusterOptions& options) {
    OptionChecks checks("cluster");
    check(options, checks);
    return checks.problems();
}

std::int64_t devices_per_node(const ClusterOptions& cluster, const ParallelOptions& parallel) {
    if (cluster.devices_per_node) return *cluster.devices_per_node;
    const std::int64_t replica = std::int64_t{parallel.pipeline_parallel_degree} * parallel.tensor_parallel_degree;
    return (replica + cluster.nodes - 1) / cluster.nodes;
}

std::int64_t stated_world(const ClusterOptions& cluster, const ParallelOptions& parallel) {
    return cluster.nodes * devices_per_node(cluster, parallel);
}

std::vector<Problem> validate_world(std::int64_t world, const ClusterOptions& cluster,
                                    const ParallelOptions& parallel) {
    OptionChecks checks("cluster");
    if (world < 1 || world > kMostRanks) {
        checks.conflict("nodes", cluster.nodes, fmt::format("makes a world of {} ranks", world),
                        fmt::format("worlds have 1 to {} ranks", kMostRanks));
        return checks.problems();
    }
    if (cluster.devices_per_node && stated_world(cluster, parallel) != world) {
        checks.conflict("devices_per_node", cluster.devices_per_node,
                        fmt::format("with cluster.nodes = {} the job needs {} ranks, but it was started on {}",
                                    cluster.nodes, stated_world(cluster, parallel), world),
                        "start that many ranks, or leave cluster.nodes and cluster.devices_per_node out");
        return checks.problems();  // what else is wrong with that number is not the question
    }
    std::vector<Problem> problems;
    try {
        degrees_in(parallel, static_cast<int>(world));
    } catch (const ConfigError& error) {
        problems = error.problems();
    }
    if (world % cluster.nodes != 0) {
        checks.conflict("nodes", cluster.nodes, fmt::format("does not divide the {} ranks of the job", world),
                        "start a multiple of it, or leave cluster.nodes out");
    }
    const auto stated = checks.problems();
    problems.insert(problems.end(), stated.begin(), stated.end());
    return problems;
}

}  // namespace smp::partition
