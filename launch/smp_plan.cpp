// smp_plan: says what a training job would do, without doing it.
#include <csignal>
#include <new>

#include <fmt/format.h>

#include "launch/config/config.h"
#include "launch/plan_arguments.h"
#include "launch/plan_report.h"
#include "launch/standard_output.h"
#include "partition/problem.h"
#include "partition/staircase.h"
#include "runtime/data_error.h"
#include "runtime/job_plan.h"

using namespace smp;

namespace {

std::string answer_to(const launch::PlanArguments& arguments) {
    if (arguments.answer) return *arguments.answer;
    const launch::Config config = launch::load_config(arguments.config, arguments.sets, arguments.ranks);
    const int ranks = arguments.ranks.value_or(config.world());
    if (arguments.check_only) return launch::proof_of(runtime::plan_of(config.job(), ranks)) + '\n';
    const launch::PlanReport report = launch::report_on(config, ranks);
    switch (arguments.format) {
        case launch::PlanFormat::text: return launch::to_text(report);
        case launch::PlanFormat::json: return launch::to_json(report);
        case launch::PlanFormat::trace: return launch::to_trace(report);
        case launch::PlanFormat::schedule: return partition::staircase(report.plan);
    }
    throw std::logic_error("smp_plan: no such format");
}

int failure(int code, const char* message) {
    fmt::print(stderr, "smp_plan: error: {}\n", message);
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);  // writes report it instead
    try {
        launch::write_standard_output(answer_to(launch::parse_plan_arguments(argc, argv)));
        return 0;
    } catch (const launch::ReaderIsGone&) {
        return 0;
    } catch (const partition::ConfigError& error) {
        return failure(2, error.what());
    } catch (const runtime::DataError& error) {
        return failure(3, error.what());
    } catch (const std::bad_alloc&) {
        return failure(5, "out of memory; plan for fewer stages or microbatches.");
    } catch (const std::exception& error) {
        return failure(1, error.what());
    }
}
