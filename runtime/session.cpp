#include "runtime/session.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "partition/foresight/measured_durations.h"
#include "partition/foresight/warnings.h"
#include "runtime/agreement/agreement.h"
#include "runtime/agreement/hosts.h"
#include "runtime/data/tokenizer.h"
#include "runtime/execution/gathered_memory.h"
#include "runtime/job/advice.h"
#include "runtime/job/job_rules.h"
#include "runtime/records/median.h"
#include "runtime/records/settings.h"
#include "runtime/update/world_sum.h"

namespace smp::runtime {

namespace {

constexpr std::size_t kRemembered = 100;  // steps

}  // namespace

Session::Session(Trainer& trainer, Recorders recorders, SessionOptions options)
    : trainer_(trainer),
      recorders_(std::move(recorders)),
      options_(std::move(options)),
      is_first_(trainer.world().rank() == 0) {
    if (!trainer.job().checkpoint.directory.empty()) checkpoints_.emplace(trainer);
}

void Session::run() {
    const std::int64_t every = trainer_.job().checkpoint.every, steps = trainer_.job().training.steps;
    const std::int64_t first = trainer_.steps_done();
    const comms::Activity activity(trainer_.world(),
                                   [this] { return fmt::format("what follows step {}", trainer_.steps_done()); });
    start();
    bool stops = false;
    while (!stops && trainer_.steps_done() < steps) {
        step();
        if (trainer_.steps_done() == first + 1) measure_memory();
        if (checkpoints_) tell(checkpoints_->completed());
        const Request request = agreed_request();
        stops = request.kind == Request::Kind::stop;
        if (request.kind == Request::Kind::save || (every > 0 && trainer_.steps_done() % every == 0)) save();
    }
    if (checkpoints_ && trainer_.steps_done() > first && checkpoints_->last_step() < trainer_.steps_done()) save();
    const std::string failure = settle();
    if (trainer_.steps_done() > first + 1) measure_memory();
    if (is_first_) {
        const RunEnd end{.memory = trainer_.memory(),
                         .steps = trainer_.steps_done(),
                         .stopped = stops,
                         .advice = trainer_.steps_done() > first ? advice() : std::vector<std::string>{}};
        for (const auto& recorder : recorders_) recorder->finished(end);
    }
    if (!failure.empty())
        throw_agreed(fmt::format("training is done, but its last checkpoint is not there: {}", failure), 6, 0);
}

Request Session::agreed_request() {
    if (!options_.request) return {};
    constexpr std::int64_t kSignals = 256;  // more than there are
    const Request own = options_.request();
    const std::int64_t agreed =
        largest_over_world(trainer_.world(), kSignals * static_cast<std::int64_t>(own.kind) + own.signal);
    const Request request{.kind = static_cast<Request::Kind>(agreed / kSignals),
                          .signal = static_cast<int>(agreed % kSignals)};
    if (request.kind != Request::Kind::none && is_first_)
        for (const auto& recorder : recorders_)
            recorder->asked({.step = trainer_.steps_done(),
                             .signal = request.signal,
                             .stops = request.kind == Request::Kind::stop});
    return request;
}

void Session::save() {
    if (!checkpoints_) return;
    settle();
    checkpoints_->begin();
    if (!trainer_.job().checkpoint.asynchronous) settle();
}

std::string Session::settle() {
    if (!checkpoints_) return "";
    tell(checkpoints_->settle([this](const std::string& sentence) {
        if (is_first_)
            for (const auto& recorder : recorders_) recorder->waiting(sentence);
    }));
    return failure_;
}

void Session::tell(const std::optional<SavedCheckpoint>& saved) {
    if (!saved) return;
    failure_ = saved->failure;
    if (is_first_)
        for (const auto& recorder : recorders_) recorder->saved(*saved);
}

std::vector<std::pair<std::string, std::string>> Session::settings() const {
    auto rows = settings_of(trainer_.job(), trainer_.plan(),
                            comms::launched_by_mpi() ? "processes" : "threads of one process", at::get_num_threads());
    const auto steps = std::ranges::find(rows, "steps", [](const auto& row) { return row.first; });
    const auto data = rows.insert(steps, {"data", trainer_.described_data()});
    rows.insert(data, options_.settings.begin(), options_.settings.end());
    return rows;
}

void Session::start() {
    const Job& job = trainer_.job();
    RunStart run{.job = job,
                 .plan = trainer_.plan(),
                 .graph = trainer_.graph(),
                 .at = trainer_.coordinate(),
                 .steps_done = trainer_.steps_done()};
    run.rank = trainer_.world().rank();
    run.places = trainer_.places();
    std::vector<std::string> hosts;
    for (const RankPlace& place : run.places) hosts.push_back(place.host);
    hosts_ = numbered(hosts);
    fail_together(trainer_.world(), [&] {
        if (is_first_) {
            run.settings = settings();
            run.warnings = partition::warnings_of(
                run.plan, run.graph, job.parallel, job.cluster,
                [&](int degree) { return takes_tensor_degree(job, degree); }, hosts_);
            for (std::string& warning : what_slows(run.places)) run.warnings.push_back(std::move(warning));
            for (std::string& warning : trainer_.warnings()) run.warnings.push_back(std::move(warning));
            for (const std::string& warning : options_.warnings) run.warnings.push_back(warning);
            run.notes = options_.notes;
        } else {
            run.settings = {{"rank", fmt::format("{} ({})", trainer_.world().rank(), partition::to_string(run.at))}};
        }
        for (const auto& recorder : recorders_) recorder->started(run);
    });
}

void Session::step() {
    const TrainingOptions& training = trainer_.job().training;
    const auto& traced = trainer_.job().logging.trace_steps;
    const bool is_traced = std::ranges::find(traced, trainer_.steps_done() + 1) != traced.end();
    partition::StepTimes times;
    StepRecord record = is_traced ? trainer_.step(times) : trainer_.step();
    const bool evaluates =
        training.evaluate_every > 0 && (record.step % training.evaluate_every == 0 || record.step == training.steps);
    const auto record_step = [&] {
        for (const auto& recorder : recorders_) recorder->stepped(record);
    };
    if (evaluates) {
        double loss = 0;
        try {
            loss = trainer_.evaluate();
        } catch (...) {
            record_step();  // what was done is recorded, whatever follows
            throw;
        }
        if (std::isfinite(loss)) record.validation_loss = loss;
    }
    record_step();
    if (evaluates && !record.validation_loss)  // the same on every rank
        throw_agreed(fmt::format("step {}: the validation loss is not finite, though that of training is; look for "
                                 "tokens in data.validation that the model never sees in training, and at "
                                 "training.initial_weights",
                                 record.step),
                     2, 0);
    seconds_.push_back(record.seconds);
    if (seconds_.size() > kRemembered) seconds_.erase(seconds_.begin());
    if (is_traced && is_first_) {
        bubble_ = partition::measured_bubble(trainer_.plan(), times);
        for (const auto& recorder : recorders_) recorder->traced(times);
    }
    if (!evaluates) return;
    const Evaluation evaluation = evaluation_of(record);
    if (is_first_)
        for (const auto& recorder : recorders_) recorder->evaluated(evaluation);
}

void Session::measure_memory() {
    const auto ranks = memory_of_ranks(trainer_.world(), trainer_.memory());
    device_peak_ = std::ranges::max(ranks, {}, &partition::MemoryUse::device_peak).device_peak;
    if (is_first_)
        for (const auto& recorder : recorders_) recorder->measured(ranks);
}

std::vector<std::string> Session::advice() const {
    try {
        return advice_after(
            trainer_.job(), trainer_.plan(), trainer_.graph(),
            {.step_seconds = median(seconds_), .bubble = bubble_, .device_peak = device_peak_, .nodes = hosts_});
    } catch (const std::exception& error) {  // it is no reason to fail
        return {fmt::format("there is no advice: {}", error.what())};
    }
}

Evaluation Session::evaluation_of(const StepRecord& record) {
    const Job& job = trainer_.job();
    Evaluation evaluation{.step = record.step, .loss = *record.validation_loss, .sample = ""};
    if (job.training.sample_tokens == 0) return evaluation;
    const auto tokens = trainer_.sample();
    if (is_first_) evaluation.sample = make_tokenizer(job.data)->decode(tokens);
    return evaluation;
}

}  // namespace smp::runtime
