#include "launch/plan/plan_report.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "partition/check/checker.h"
#include "partition/foresight/warnings.h"
#include "runtime/job/job_plan.h"
#include "runtime/job/job_rules.h"

namespace smp::launch {

namespace {

using partition::ActionKind;
using partition::RankProgram;

}  // namespace

PlanReport report_on(const Config& config, int ranks) {
    PlanReport report{.config = config,
                      .graph = runtime::graph_of(config, ranks),
                      .plan = runtime::plan_of(config, ranks),
                      .proof = {},
                      .rates = {},
                      .timeline = {},
                      .warnings = {}};
    report.proof = proof_of(report.plan);
    const auto durations = partition::modelled_durations(report.plan, report.plan.training, report.graph, report.rates);
    report.timeline = partition::simulate(report.plan.training, durations);
    report.warnings = partition::warnings_of(report.plan, report.graph, config.parallel, config.cluster,
                                             [&](int degree) { return runtime::takes_tensor_degree(config, degree); });
    if (const auto limit = partition::memory_limit(config.cluster))
        if (const auto sentence = partition::misfit(report.plan, report.graph, report.timeline, *limit))
            report.warnings.push_back(*sentence);
    return report;
}

std::string proof_of(const partition::Plan& plan) {
    if (const auto refusals = partition::check(plan); !refusals.empty())
        throw std::logic_error(fmt::format("the plan cannot be executed:\n{}", fmt::join(refusals, "\n")));
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
