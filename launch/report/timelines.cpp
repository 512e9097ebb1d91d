#include "launch/report/timelines.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/command/text_table.h"
#include "partition/foresight/measured_durations.h"
#include "partition/foresight/schedule_picture.h"
#include "partition/foresight/simulator.h"
#include "runtime/records/plan_json.h"

namespace smp::launch {

namespace {

using Json = nlohmann::json;
using partition::Look;
using partition::PictureSpan;
using partition::TimelinePicture;

constexpr std::uintmax_t kMostBytes = 256'000'000;
constexpr std::size_t kMostRanks = 64;

/// Of a file that runtime::write_trace has written: an event a line.
struct TracedStep {
    std::int64_t step = 0;
    std::vector<std::string> ranks;  // names, by process
    TimelinePicture picture;
    /// Of each rank's actions, by name: what they took, in nanoseconds.
    std::vector<std::map<std::string, std::int64_t>> durations;
};

std::optional<Look> look_of(const std::string& activity, const std::string& name) {
    if (activity == "forward") return Look::forward;
    if (activity == "backward") return Look::backward;
    if (activity == "backward weight") return Look::weight;
    if (activity == "recompute") return Look::recompute;
    if (activity == "reduction") return Look::reduction;
    if (activity == "optimizer") return Look::optimizer;
    if (activity != "communication") return std::nullopt;
    return name.starts_with("offload") || name.starts_with("prefetch") ? Look::offload : Look::message;
}

/// The event of a line; null for a line that holds none.
Json event_of(std::string line) {
    while (!line.empty() && (line.back() == ',' || line.back() == '\r')) line.pop_back();
    if (!line.starts_with("{\"ph\"")) return nullptr;
    return Json::parse(line, nullptr, /*allow_exceptions=*/false);
}

std::int64_t nanoseconds(const Json& microseconds) { return std::llround(1e3 * microseconds.get<double>()); }

std::int64_t last_step(const std::filesystem::path& file) {
    std::int64_t last = -1;
    std::ifstream stream(file, std::ios::binary);
    for (std::string line; std::getline(stream, line);) {
        const auto at = line.rfind("\"step\":");
        if (at != std::string::npos) last = std::max<std::int64_t>(last, std::atoll(line.c_str() + at + 7));
    }
    return last;
}

std::optional<TracedStep> traced_step(const std::filesystem::path& file) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(file, error);
    if (error || size > kMostBytes) return std::nullopt;
    TracedStep traced{.step = last_step(file), .ranks = {}, .picture = {}, .durations = {}};
    std::map<std::pair<int, int>, std::string> tracks;  // by process and thread
    std::ifstream stream(file, std::ios::binary);
    for (std::string line; std::getline(stream, line);) {
        const Json event = event_of(line);
        if (!event.is_object()) continue;
        const int rank = event.at("pid").get<int>(), thread = event.at("tid").get<int>();
        const auto name = event.at("name").get<std::string>();
        if (name == "process_name") traced.ranks.push_back(event.at("args").at("name").get<std::string>());
        if (name == "thread_name") tracks[{rank, thread}] = event.at("args").at("name").get<std::string>();
        const Json& args = event.at("args");
        if (event.at("ph") != "X" || args.value("step", std::int64_t{-1}) != traced.step) continue;
        const auto look = look_of(event.at("cat").get<std::string>(), name);
        if (!look || rank < 0) continue;
        traced.durations.resize(std::max(traced.durations.size(), static_cast<std::size_t>(rank) + 1));
        const std::int64_t start = nanoseconds(event.at("ts")), duration = nanoseconds(event.at("dur"));
        traced.durations[static_cast<std::size_t>(rank)][name] = duration;
        if (rank >= static_cast<int>(kMostRanks)) continue;
        PictureSpan span{.row = rank, .look = *look, .start = start, .end = start + duration};
        const bool computes = tracks[{rank, thread}].starts_with("compute");
        span.lane = computes                 ? partition::Lane::compute
                    : *look == Look::offload ? partition::Lane::copies
                                             : partition::Lane::communication;
        const int microbatch = args.value("microbatch", -1);
        if (computes && microbatch >= 0) span.label = std::to_string(microbatch);
        traced.picture.spans.push_back(std::move(span));
    }
    if (traced.picture.spans.empty()) return std::nullopt;
    return traced;
}

/// Times from the begin of the step on.
void finish(TracedStep& traced) {
    TimelinePicture& picture = traced.picture;
    const std::int64_t first = std::ranges::min(picture.spans, {}, &PictureSpan::start).start;
    for (PictureSpan& span : picture.spans) {
        span.start -= first;
        span.end -= first;
        picture.length = std::max(picture.length, span.end);
    }
    picture.title = fmt::format("Step {} as it ran", traced.step);
    picture.lines = {fmt::format("measured: {} on rank 0's clock", partition::shown_nanoseconds(picture.length))};
    for (const PictureSpan& span : picture.spans)
        while (picture.rows.size() <= static_cast<std::size_t>(span.row)) {
            const std::size_t rank = picture.rows.size();
            picture.rows.push_back(rank < traced.ranks.size() ? traced.ranks[rank] : fmt::format("rank {}", rank));
        }
    if (traced.ranks.size() > kMostRanks)
        picture.lines.push_back(
            fmt::format("the first {} of {} ranks; trace.json holds all", kMostRanks, traced.ranks.size()));
}

/// What the plan's computations took in the traced step, on the pipeline of the first tensor rank and replica.
partition::Durations measured(const partition::Plan& plan, const TracedStep& traced) {
    partition::Durations durations;
    const auto pipeline = partition::pipeline_of(plan, 0, 0);
    for (const partition::StageId stage : plan.training.ids()) {
        const auto rank = static_cast<std::size_t>(pipeline[stage]);
        auto& list = durations.emplace_back();
        for (const partition::Action& action : plan.training[stage].actions) {
            std::int64_t duration = 0;
            if (rank < traced.durations.size()) {
                const auto found = traced.durations[rank].find(partition::name_of(action));
                if (found != traced.durations[rank].end()) duration = found->second;
            }
            list.push_back({.duration = duration});
        }
    }
    return durations;
}

}  // namespace

std::vector<TimelinePicture> timelines_of(const std::filesystem::path& folder) {
    std::vector<TimelinePicture> pictures;
    std::optional<TracedStep> traced = traced_step(folder / "trace.json");
    if (traced) {
        finish(*traced);
        pictures.push_back(traced->picture);
    }
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(folder / "plan.json", error);
    if (error) return pictures;
    if (size > kMostBytes) {
        for (TimelinePicture& picture : pictures)
            picture.lines.emplace_back("the plan is too large to be drawn beside it");
        return pictures;
    }
    const runtime::SavedPlan saved = runtime::read_plan(folder / "plan.json");
    const partition::Rates rates =
        traced ? partition::achieved_rates(saved.plan, saved.graph, measured(saved.plan, *traced)) : partition::Rates{};
    const auto durations = partition::modelled_durations(saved.plan, saved.plan.training, saved.graph, rates);
    TimelinePicture planned =
        partition::schedule_picture(saved.plan, partition::simulate(saved.plan.training, durations));
    planned.lines.insert(planned.lines.begin(), std::exchange(planned.title, "The plan of a step"));
    planned.lines.push_back(traced ? fmt::format("predicted at the speed that step {} computed with, {}FLOP/s",
                                                 traced->step, shown_si(rates.flops_per_second))
                                   : fmt::format("predicted at an assumed speed, {}FLOP/s: not this machine's; with "
                                                 "logging.trace_steps a step as it ran stands beside it",
                                                 shown_si(rates.flops_per_second)));
    pictures.push_back(std::move(planned));
    return pictures;
}

}  // namespace smp::launch
