#include "runtime/records/run_files.h"

#include <utility>

#include "runtime/records/plan_json.h"

namespace smp::runtime {

RunDescription::RunDescription(const RunDirectory& directory, std::string config_json)
    : directory_(directory), config_json_(std::move(config_json)) {}

void RunDescription::started(const RunStart& run) {
    directory_.write_file("config.json", config_json_);
    std::vector<std::string> modules;
    for (const partition::Module& module : run.graph.modules) modules.push_back(module.name);
    directory_.write_file("plan.json", plan_to_json(run.plan, modules));
}

MetricsFile::MetricsFile(std::filesystem::path path) : path_(std::move(path)) {}

void MetricsFile::started(const RunStart& /*run*/) { lines_.emplace(path_); }

void MetricsFile::stepped(const StepRecord& record) { lines_->write(to_json_line(record)); }

}  // namespace smp::runtime
