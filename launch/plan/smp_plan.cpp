// smp_plan: says what a training job would do, without doing it.
#include <stdexcept>
#include <string>

#include "launch/command/standard_output.h"
#include "launch/config/config.h"
#include "launch/plan/plan_arguments.h"
#include "launch/plan/plan_report.h"
#include "partition/foresight/schedule_diagram.h"
#include "partition/foresight/schedule_picture.h"
#include "runtime/records/plan_json.h"

using namespace smp;

namespace {

std::string shown(const launch::PlanReport& report, const launch::PlanArguments& arguments) {
    if (arguments.check_only) {
        std::string text = report.proof + '\n';
        for (const std::string& warning : report.warnings) text += "warning: " + warning + '\n';
        return text;
    }
    switch (arguments.format) {
        case launch::PlanFormat::text: return launch::to_text(report);
        case launch::PlanFormat::json: return launch::to_json(report);
        case launch::PlanFormat::summary: return launch::to_json(report, runtime::PlanPart::head);
        case launch::PlanFormat::trace: return launch::to_trace(report);
        case launch::PlanFormat::schedule: return partition::schedule_diagram(report.plan);
        case launch::PlanFormat::svg:
            return partition::to_svg(partition::schedule_picture(report.plan, report.timeline));
    }
    throw std::logic_error("smp_plan: no such format");
}

std::string answer_to(const launch::PlanArguments& arguments) {
    if (arguments.answer) return *arguments.answer;
    if (!arguments.plan.empty())
        return shown(launch::report_on(runtime::read_plan(arguments.plan), arguments.plan), arguments);
    const launch::Config config = launch::load_config(arguments.config, arguments.sets, arguments.ranks);
    return shown(launch::report_on(config, arguments.ranks.value_or(config.world()), arguments.transport), arguments);
}

}  // namespace

int main(int argc, char** argv) {
    return launch::answer_on_standard_output("smp_plan", "plan for fewer stages or microbatches", [&] {
        launch::write_standard_output(answer_to(launch::parse_plan_arguments(argc, argv)));
    });
}
