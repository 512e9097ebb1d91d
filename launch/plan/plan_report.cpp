#include "launch/plan/plan_report.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "partition/check/checker.h"
#include "partition/foresight/warnings.h"
#include "runtime/files/data_error.h"
#include "runtime/job/job_plan.h"
#include "runtime/job/job_rules.h"

namespace smp::launch {

namespace {

using partition::ActionKind;
using partition::RankProgram;

/// The first refusals, a line each.
std::string listed(const std::vector<std::string>& refusals) {
    constexpr std::size_t kShown = 20;
    if (refusals.size() <= kShown) return fmt::format("{}", fmt::join(refusals, "\n"));
    return fmt::format("{}\nand {} more", fmt::join(refusals.begin(), refusals.begin() + kShown, "\n"),
                       refusals.size() - kShown);
}

/// Of a plan that check() has found nothing in.
std::string proof_sentence(const partition::Plan& plan) {
    std::size_t actions = 0;
    std::ptrdiff_t messages = 0;
    for (const auto* programs : {&plan.training, &plan.evaluation, &plan.sampling}) {
        for (const RankProgram& program : *programs) {
            actions += program.actions.size();
            messages += std::count_if(program.actions.begin(), program.actions.end(),
                                      [](const auto& action) { return action.kind == ActionKind::send; });
        }
    }
    const std::size_t stages = plan.training.size();
    return fmt::format(
        "proven for training, evaluation and sampling: {} stage{}, {} actions, {} messages; nothing can hang, every "
        "message and buffer meets its use",
        stages, stages == 1 ? "" : "s", actions, messages);
}

/// A saved plan says nothing of nodes: all its ranks are taken to be on one.
void simulate_step(PlanReport& report) {
    const int ranks_per_node = report.config ? report.plan.topology.degrees.world() / report.config->cluster.nodes : 0;
    const auto durations =
        partition::modelled_durations(report.plan, report.plan.training, report.graph, report.rates, ranks_per_node);
    report.timeline = partition::simulate(report.plan.training, durations);
}

}  // namespace

PlanReport report_on(const Config& config, int ranks, std::optional<partition::Transport> stated) {
    const partition::Transport transport = stated.value_or(
        config.cluster.nodes > 1 ? partition::Transport::messages : partition::Transport::shared_memory);
    PlanReport report{.config = config,
                      .graph = runtime::graph_of(config, ranks, transport),
                      .plan = runtime::plan_of(config, ranks, transport),
                      .proof = {},
                      .rates = {},
                      .timeline = {},
                      .warnings = {},
                      .notes = config.notes};
    report.proof = proof_of(report.plan);
    simulate_step(report);
    report.warnings = partition::warnings_of(report.plan, report.graph, config.parallel, config.cluster,
                                             [&](int degree) { return runtime::takes_tensor_degree(config, degree); });
    if (const auto limit = partition::memory_limit(config.cluster))
        if (const auto sentence = partition::misfit(report.plan, report.graph, *limit))
            report.warnings.push_back(*sentence);
    return report;
}

PlanReport report_on(runtime::SavedPlan saved, const std::string& origin) {
    std::string proof = proof_of(saved, origin);
    PlanReport report{.config = {},
                      .graph = std::move(saved.graph),
                      .plan = std::move(saved.plan),
                      .proof = std::move(proof),
                      .rates = {},
                      .timeline = {},
                      .warnings = {},
                      .notes = {fmt::format("{} holds a plan and no job: tokens, memory limits and warnings about "
                                            "options are left out, and all ranks are priced as on one node",
                                            origin)}};
    simulate_step(report);
    return report;
}

std::string proof_of(const partition::Plan& plan) {
    if (const auto refusals = partition::check(plan); !refusals.empty())
        throw std::logic_error("the plan cannot be executed:\n" + listed(refusals));
    return proof_sentence(plan);
}

std::string proof_of(const runtime::SavedPlan& saved, const std::string& origin) {
    if (const auto refusals = partition::check(saved.plan, saved.graph); !refusals.empty())
        throw runtime::DataError(fmt::format("{}: the plan in it cannot be executed:\n{}", origin, listed(refusals)));
    return proof_sentence(saved.plan);
}

int peak_microbatches(const RankProgram& program) {
    int held = 0, peak = 0;
    for (const auto& action : program.actions) {
        if (action.group > partition::GroupId(0)) continue;  // the first group's forward begins, its backward ends
        if (action.kind == ActionKind::forward) peak = std::max(peak, ++held);
        if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_input) --held;
    }
    return peak;
}

}  // namespace smp::launch
