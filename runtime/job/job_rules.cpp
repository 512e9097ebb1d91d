#include "runtime/job/job_rules.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "models/device_rules.h"
#include "models/model_spec.h"
#include "partition/stages/assignment.h"
#include "runtime/job/job_size.h"

namespace smp::runtime {
namespace {

using partition::OptionChecks;

void check_layout(const Job& job, OptionChecks& checks) {
    const int tensor = job.parallel.tensor_parallel_degree;
    if (tensor < 1) return;
    job.model.spec->check_layout(job.parallel, checks);
    const std::int64_t length = sequence_length(job.training, job.model.spec->longest_sequence());
    if (job.parallel.optimize == partition::Optimize::memory && length % tensor != 0) {
        checks.conflict("training.sequence_length", length,
                        fmt::format("must be a multiple of parallel.tensor_parallel_degree, which is {}: "
                                    "parallel.optimize = \"memory\" cuts the tokens over the tensor ranks",
                                    tensor),
                        "change one of them, or set parallel.optimize = \"speed\"");
    }
}

/// Operators of the model that have no kernel where the job computes.
void check_device(const Job& job, std::int64_t sequences, OptionChecks& checks) {
    const auto* const rules = dynamic_cast<const models::DeviceRules*>(job.model.spec.get());
    if (rules == nullptr) return;
    rules->check_share({.tensor_degree = job.parallel.tensor_parallel_degree,
                        .sequences = sequences,
                        .length = sequence_length(job.training, job.model.spec->longest_sequence()),
                        .storage = models::storage_of(job.parallel, job.cluster.device)},
                       checks);
}

/// Layers by hand may not add up, and stages may be too many; the automatic assignment finds a way for all others.
std::vector<partition::Problem> stage_problems(const Job& job) {
    const models::ModelSpec& model = *job.model.spec;
    const auto graph = models::module_graph(model, {.sequences = 1,
                                                    .length = model.longest_sequence(),
                                                    .storage = models::storage_of(job.parallel, job.cluster.device)});
    const auto layers = std::ranges::count_if(graph.modules, &partition::Module::is_layer);
    if (job.parallel.auto_partition && partition::chunk_count(job.parallel) <= layers) return {};
    try {
        partition::assign_stages(graph, job.parallel);
    } catch (const partition::ConfigError& error) {
        return error.problems();
    }
    return {};
}

void check_training(const Job& job, OptionChecks& checks) {
    const auto& training = job.training;
    const std::int64_t longest = job.model.spec->longest_sequence();
    if (sequence_length(training, longest) > longest) {
        checks.conflict("training.sequence_length", training.sequence_length,
                        fmt::format("must not be above model.n_positions, which is {}", longest),
                        "shorten it, or raise n_positions");
    }
    if (training.evaluate_every > 0 && !has_validation_data(job.data)) {
        checks.conflict("training.evaluate_every", training.evaluate_every, "there is no validation data",
                        "set data.validation or data.validation_fraction, or leave evaluate_every out");
    }
    if (training.loss_scale && !job.parallel.fp16) {
        checks.conflict("training.loss_scale", training.loss_scale,
                        "scales the loss of fp16, but parallel.fp16 is false",
                        "set parallel.fp16 = true, or leave loss_scale out");
    }
    for (const std::int64_t step : job.logging.trace_steps) {
        if (training.steps < 1 || step <= training.steps) continue;
        checks.conflict("logging.trace_steps", job.logging.trace_steps,
                        fmt::format("step {} does not come: training.steps is {}", step, training.steps),
                        "name steps of the run");
        break;
    }
    const std::int64_t bytes = 256, vocabulary = job.model.spec->vocabulary();
    if (job.data.format == DataFormat::text && job.data.tokenizer == Tokenizer::bytes && vocabulary < bytes) {
        checks.conflict("model.vocab_size", vocabulary, "must be 256 or more for text as bytes", "raise it");
    }
}

template <typename Options>
OptionChecks checks_of(const std::string& section, const Options& options) {
    OptionChecks checks(section);
    check(options, checks);
    return checks;
}

/// Whether `text` names the key `path`, and not a longer one that begins or ends alike.
bool mentions(const std::string& text, const std::string& path) {
    const auto is_part = [&](std::size_t i) {
        return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) != 0 || text[i] == '_');
    };
    for (auto at = text.find(path); at != std::string::npos; at = text.find(path, at + 1)) {
        if ((at == 0 || !is_part(at - 1)) && !is_part(at + path.size())) return true;
    }
    return false;
}

}  // namespace

std::vector<OptionChecks> section_checks(const Job& job) {
    return {
        job.model.spec->checks(),         checks_of("parallel", job.parallel), checks_of("training", job.training),
        checks_of("data", job.data),      checks_of("cluster", job.cluster),   checks_of("checkpoint", job.checkpoint),
        checks_of("logging", job.logging)};
}

std::vector<partition::Problem> problems_of(const Job& job, std::set<std::string> unreadable) {
    std::vector<partition::Problem> problems;
    std::set<std::string>& spoilt = unreadable;
    const auto sections = section_checks(job);
    for (const OptionChecks& checks : sections)
        for (const partition::Problem& problem : checks.outside_limits())
            if (spoilt.insert(problem.key).second) problems.push_back(problem);
    const auto add_conflicts = [&](const std::vector<partition::Problem>& conflicts) {
        for (const partition::Problem& problem : conflicts) {
            const bool follows = std::ranges::any_of(spoilt, [&](const std::string& path) {
                return path == problem.key || mentions(problem.message, path);
            });
            if (!follows) problems.push_back(problem);
        }
    };
    for (const OptionChecks& checks : sections) add_conflicts(checks.conflicts());
    add_conflicts(validate_job(job));
    return problems;
}

void require_valid(const Job& job, std::int64_t world, const std::set<std::string>& unused) {
    std::vector<partition::Problem> problems = problems_of(job, unused);
    if (problems.empty()) problems = validate_job_on(job, world);
    if (!problems.empty()) throw partition::ConfigError(std::move(problems));
}

std::vector<partition::Problem> validate_job(const Job& job) {
    OptionChecks checks;
    check_layout(job, checks);
    check_training(job, checks);
    const bool is_valid = job.model.spec->checks().problems().empty() && partition::validate(job.parallel).empty();
    OptionChecks size;
    if (is_valid) check_size(job, size);
    if (is_valid) check_device(job, /*sequences=*/1, checks);
    std::vector<partition::Problem> problems = checks.problems();
    problems.insert(problems.end(), size.conflicts().begin(), size.conflicts().end());
    const auto stages = is_valid && size.conflicts().empty() ? stage_problems(job) : std::vector<partition::Problem>{};
    problems.insert(problems.end(), stages.begin(), stages.end());
    return problems;
}

bool takes_tensor_degree(const Job& job, int degree) {
    partition::ParallelOptions parallel = job.parallel;
    parallel.tensor_parallel_degree = degree;
    OptionChecks checks;
    job.model.spec->check_layout(parallel, checks);
    return checks.conflicts().empty();
}

std::vector<partition::Problem> validate_job_on(const Job& job, std::int64_t world) {
    std::vector<partition::Problem> problems = partition::validate_world(world, job.cluster, job.parallel);
    if (!problems.empty()) return problems;

    const int rdp = partition::degrees_in(job.parallel, static_cast<int>(world)).rdp;
    const std::int64_t sequences = global_batch(job.training, job.parallel, rdp);
    const std::int64_t pieces = std::int64_t{rdp} * job.parallel.microbatches;
    OptionChecks checks;
    check_size_on(job, rdp, checks);
    if (checks.conflicts().empty() && sequences % pieces == 0) check_device(job, sequences / pieces, checks);
    if (!checks.conflicts().empty() || sequences % pieces == 0) return checks.problems();
    const std::string why = fmt::format(
        "{} data-parallel rank{} x {} microbatches (parallel.microbatches) = {} must divide the global batch", rdp,
        rdp == 1 ? "" : "s", job.parallel.microbatches, pieces);
    const std::string remedy = "change the batch size or the number of microbatches";
    if (job.training.global_batch_size) {
        checks.conflict("training.global_batch_size", sequences, why, remedy);
    } else {
        checks.conflict("training.batch_size", job.training.batch_size, fmt::format("{}, which is {}", why, sequences),
                        remedy);
    }
    return checks.problems();
}

}  // namespace smp::runtime
