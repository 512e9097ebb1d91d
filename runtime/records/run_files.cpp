#include "runtime/records/run_files.h"

#include <fstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "runtime/files/text_file.h"
#include "runtime/records/plan_json.h"

namespace smp::runtime {

RunDescription::RunDescription(const RunDirectory& directory, std::string config_json)
    : directory_(directory), config_json_(std::move(config_json)) {}

void RunDescription::started(const RunStart& run) {
    directory_.write_file("config.json", config_json_);
    directory_.write_file("plan.json", plan_to_json(run.plan, run.graph));
}

MetricsFile::MetricsFile(std::filesystem::path path) : path_(std::move(path)) {}

void MetricsFile::started(const RunStart& run) {
    if (run.steps_done > 0) keep_lines_until(run.steps_done);
    lines_.emplace(path_, run.steps_done > 0 ? LineFile::Start::go_on : LineFile::Start::anew);
}

void MetricsFile::keep_lines_until(std::int64_t step) const {
    std::string kept;
    std::ifstream stream(path_, std::ios::binary);
    for (std::string line; std::getline(stream, line) && !stream.eof();) {  // one without an end is torn
        const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
        if (object.is_object() && object.value("step", step + 1) <= step) kept += line + '\n';
    }
    write_text(path_, kept);
}

void MetricsFile::stepped(const StepRecord& record) { lines_->write(to_json_line(record)); }

}  // namespace smp::runtime
