#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "launch/config/config.h"
#include "launch/config/json_text.h"
#include "launch/config/keys.h"
#include "launch/config/limits.h"
#include "launch/config/preset.h"
#include "launch/config/statements.h"
#include "runtime/job/job_rules.h"

namespace smp::launch {
namespace {

using partition::Problem;

/// What is wrong with a configuration, each thing once, with where it was stated.
class Findings {
  public:
    Findings(std::string file, const Statements& statements, std::vector<Problem> problems)
        : file_(std::move(file)), statements_(statements), problems_(std::move(problems)) {}

    /// A key that cannot be read.
    void add(const Key& key, const std::string& message) {
        spoil(key.path());
        problems_.push_back(with_origin({.key = key.path(), .message = message}));
    }

    /// What the rules say of the values.
    void add(const std::vector<Problem>& problems) {
        for (const Problem& problem : problems) {
            const auto dot = problem.key.find('.');
            const Key* key = find_key(problem.key.substr(0, dot), problem.key.substr(dot + 1));
            const bool missing = key != nullptr && key->required && !statements_.contains(problem.key);
            problems_.push_back(
                with_origin(missing ? Problem{.key = problem.key, .message = missing_message(*key)} : problem));
        }
    }

    /// A value that is there, but whose meaning could not be found out.
    void spoil(const std::string& path) { unreadable_.insert(path); }

    bool empty() const { return problems_.empty(); }
    std::vector<Problem>& problems() { return problems_; }
    const std::set<std::string>& unreadable() const { return unreadable_; }

  private:
    std::string missing_message(const Key& key) const {
        const auto all = limits();
        const auto limit = all.find(key.path());
        return fmt::format("is missing: {} ({}{}); set it{}", key.doc, key.type,
                           limit == all.end() ? "" : ", " + limit->second,
                           key.section == "model" ? ", or model.preset" : "");
    }

    Problem with_origin(Problem problem) const {
        const auto stated = statements_.find(problem.key);
        problem.origin = stated == statements_.end() ? file_ : stated->second.origin;
        return problem;
    }

    std::string file_;
    const Statements& statements_;
    std::vector<Problem> problems_;
    std::set<std::string> unreadable_;
};

std::string refused(const Key& key, const Json& value, const Refusal& refusal) {
    std::string text = fmt::format("= {}: {}", shown_json(value), refusal.why);
    const auto all = limits();
    if (const auto limit = all.find(key.path()); limit != all.end() && refusal.why.starts_with("must be"))
        text += ", " + limit->second;
    return refusal.remedy.empty() ? text : text + "; " + refusal.remedy;
}

constexpr std::string_view kModel = "model.";

void apply_preset(const Statements& statements, Config& config, Findings& findings) {
    const auto stated = statements.find("model.preset");
    if (stated == statements.end() || stated->second.value.is_null()) return;
    const std::size_t before = findings.problems().size();
    const auto& [value, origin, base] = stated->second;
    std::set<std::string> overridden;
    for (const auto& [path, statement] : statements)
        if (path.starts_with(kModel) && !statement.value.is_null()) overridden.insert(path.substr(kModel.size()));
    if (value.is_string()) {
        config.gpt2 = read_preset(value.get<std::string>(), base, origin, overridden, findings.problems());
    } else {
        findings.add(*find_key("model", "preset"),
                     fmt::format("= {}: must be the name of a preset or a path, in quotes", shown_json(value)));
    }
    if (findings.problems().size() == before) return;
    for (std::size_t i = before; i < findings.problems().size(); ++i)
        findings.spoil(std::string(kModel) + findings.problems()[i].key);
    for (const char* shape : {"model.n_layer", "model.n_head", "model.n_embd"}) findings.spoil(shape);
}

void read_values(const Statements& statements, Config& config, Findings& findings) {
    apply_preset(statements, config, findings);
    const auto preset = statements.find("model.preset");
    const bool has_preset = preset != statements.end() && !preset->second.value.is_null();
    for (const Key& key : configuration_keys()) {
        const auto stated = statements.find(key.path());
        if (stated == statements.end()) continue;
        const auto& [value, origin, base] = stated->second;
        // Beside a preset null stands for what it says.
        const bool from_preset = has_preset && key.section == "model" && value.is_null() && !key.nullable;
        if (from_preset) continue;
        if (const auto refusal = key.read(config, value, base)) findings.add(key, refused(key, value, *refusal));
    }
}

void check_values(const Config& config, std::optional<int> ranks, Findings& findings) {
    findings.add(runtime::problems_of(config, findings.unreadable()));
    if (!findings.empty()) return;
    findings.add(
        runtime::validate_job_on(config, ranks ? *ranks : partition::stated_world(config.cluster, config.parallel)));
}

/// Valid, but without effect beside the other values.
void note_idle_values(Config& config) {
    const auto note = [&](bool idle, const std::string& text) {
        if (idle) config.notes.push_back(text);
    };
    const auto& training = config.training;
    note(
        training.deterministic && config.cluster.device != partition::Device::cuda,
        fmt::format("training.deterministic = true changes nothing {}: CPUs always give the same bits",
                    config.cluster.device == partition::Device::cpu ? "on CPUs"
                                                                    : "where cluster.device = \"auto\" comes to CPUs"));
    note(!training.sample_prompt.empty() && training.sample_tokens == 0,
         "training.sample_prompt changes nothing while training.sample_tokens is 0");
    const runtime::TrainingOptions plain;
    note(training.sample_temperature != plain.sample_temperature && training.sample_tokens == 0,
         "training.sample_temperature changes nothing while training.sample_tokens is 0");
    note(training.evaluation_batches != plain.evaluation_batches && training.evaluate_every == 0,
         "training.evaluation_batches changes nothing while training.evaluate_every is 0");
    note(!config.data.validation.empty() && training.evaluate_every == 0,
         "data.validation is not used while training.evaluate_every is 0");
    note(training.schedule == runtime::LearningRateSchedule::constant && training.min_learning_rate &&
             training.min_learning_rate != training.learning_rate / 10,
         "training.min_learning_rate changes nothing with training.schedule = \"constant\"");
    note(config.parallel.prescaled_batch && training.global_batch_size,
         "parallel.prescaled_batch changes nothing beside training.global_batch_size: it says what batch_size counts");
    partition::ParallelOptions standard;
    standard.optimize = config.parallel.optimize;
    note(!config.parallel.auto_partition && config.parallel.memory_weight.has_value() &&
             config.parallel.memory_weight != partition::memory_weight(standard),
         "parallel.memory_weight changes nothing while parallel.auto_partition is false");
    const int stages = config.parallel.pipeline_parallel_degree;
    note(config.parallel.pipeline == partition::PipelineSchedule::interleaved &&
             config.parallel.virtual_pipeline_degree == 1 &&
             config.parallel.active_microbatches.value_or(0) > 2 * stages - 1,
         fmt::format("parallel.active_microbatches = {}: with {} stage{} at most {} are active, a larger bound changes "
                     "nothing",
                     config.parallel.active_microbatches.value_or(0), stages, stages == 1 ? "" : "s", 2 * stages - 1));
    note(!config.parallel.offload_activations &&
             config.parallel.activation_loading_horizon != partition::ParallelOptions{}.activation_loading_horizon,
         "parallel.activation_loading_horizon changes nothing while parallel.offload_activations is false");
    note(config.parallel.optimize == partition::Optimize::memory && config.parallel.tensor_parallel_degree == 1,
         "parallel.optimize = \"memory\" changes nothing while parallel.tensor_parallel_degree is 1");
}

/// Replaces "not given" by what it stands for, so that a resolved configuration repeats the job whatever defaults may
/// become.
void resolve(Config& config, std::optional<int> ranks) {
    config.gpt2.n_inner = models::inner_width(config.gpt2);
    config.model_from_section();
    config.parallel.memory_weight = partition::memory_weight(config.parallel);
    config.parallel.active_microbatches = partition::active_microbatches(config.parallel);
    config.training.sequence_length = runtime::sequence_length(config.training, config.gpt2.n_positions);
    if (config.parallel.fp16 && !config.training.loss_scale) config.training.loss_scale.emplace();
    config.training.min_learning_rate = runtime::minimum_learning_rate(config.training);
    config.cluster.devices_per_node =
        ranks ? *ranks / config.cluster.nodes
              : static_cast<int>(partition::devices_per_node(config.cluster, config.parallel));
}

}  // namespace

Config load_config(const std::filesystem::path& file, const std::vector<std::string>& sets, std::optional<int> ranks) {
    std::vector<Problem> problems;
    const Statements statements = read_statements(file, sets, problems);
    Findings findings(file.string(), statements, std::move(problems));
    Config config;
    read_values(statements, config, findings);
    config.model_from_section();
    check_values(config, ranks, findings);
    if (!findings.empty()) throw partition::ConfigError(std::move(findings.problems()));
    note_idle_values(config);
    resolve(config, ranks);
    config.canonical_text = canonical_text(config);
    return config;
}

}  // namespace smp::launch
