#include "runtime/records/run_facts.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "runtime/files/text_file.h"

namespace smp::runtime {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostWarnings = 100;  // a run that warns in each step is not written down again in each
constexpr std::size_t kMostSamples = 5;     // the last

Json json_of(const partition::MemoryForecast& bytes) {
    Json json{{"peak", bytes.device_peak}};
    for (std::size_t i = 0; i < partition::kMemoryCategories; ++i)
        if (bytes.peak.at(i) > 0)
            json[std::string(partition::Words<partition::MemoryCategory>::list.at(i))] = bytes.peak.at(i);
    return json;
}

}  // namespace

RunFacts::RunFacts(const RunDirectory& directory) : directory_(directory) {}

void RunFacts::started(const RunStart& run) {
    plan_ = &run.plan;
    prompt_ = run.job.training.sample_prompt;
    steps_ = run.steps_done;
    settings_ = run.settings;
    warnings_ = run.warnings;
    notes_ = run.notes;
    for (const partition::StageId stage : run.plan.training.ids())
        predicted_.push_back(partition::memory_forecast(run.plan, run.graph, stage));
    write();
}

void RunFacts::stepped(const StepRecord& record) {
    steps_ = record.step;
    if (!record.notice.empty()) warn(record.notice);
}

void RunFacts::measured(const std::vector<partition::MemoryUse>& ranks) {
    measured_.assign(predicted_.size(), {});
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
        const auto at = partition::coordinate_of(plan_->topology, static_cast<int>(rank));
        partition::MemoryForecast& most = measured_[at.stage()];
        most.device_peak = std::max(most.device_peak, ranks[rank].device_peak);
        for (std::size_t i = 0; i < partition::kMemoryCategories; ++i)
            most.peak.at(i) = std::max(most.peak.at(i), ranks[rank].peak.at(i));
    }
    write();
}

void RunFacts::evaluated(const Evaluation& evaluation) {
    if (evaluation.sample.empty()) return;
    samples_.emplace_back(evaluation.step, prompt_ + evaluation.sample);
    if (samples_.size() > kMostSamples) samples_.erase(samples_.begin());
    write();
}

void RunFacts::saved(const SavedCheckpoint& checkpoint) {
    for (const std::string& sentence : {checkpoint.failure, checkpoint.note})
        if (!sentence.empty()) warn(sentence);
}

void RunFacts::finished(const RunEnd& end) {
    state_ = end.stopped ? "stopped" : "finished";
    steps_ = end.steps;
    advice_ = end.advice;
    write();
}

void RunFacts::warn(const std::string& sentence) {
    if (warnings_.size() >= kMostWarnings) return;
    warnings_.push_back(sentence);
    write();
}

void RunFacts::write() const {
    Json memory = Json::array(), samples = Json::array();
    for (const partition::StageId stage : predicted_.ids()) {
        memory.push_back({{"stage", stage}, {"predicted", json_of(predicted_[stage])}});
        if (measured_.has(stage)) memory.back()["measured"] = json_of(measured_[stage]);
    }
    for (const auto& [step, text] : samples_) samples.push_back({{"step", step}, {"text", text}});
    const Json json{{"version", 1},          {"state", state_},       {"steps", steps_},
                    {"settings", settings_}, {"warnings", warnings_}, {"notes", notes_},
                    {"advice", advice_},     {"memory", memory},      {"samples", samples}};
    write_text_soon(directory_.path() / kRunFacts, json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n');
}

}  // namespace smp::runtime
