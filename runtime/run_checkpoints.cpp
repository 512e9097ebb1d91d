#include "runtime/run_checkpoints.h"

#include <algorithm>
#include <chrono>
#include <random>

#include <fmt/format.h>

#include "runtime/agreement/agreement.h"
#include "runtime/update/world_sum.h"

namespace smp::runtime {

namespace {

std::string random_name() {
    std::random_device random;
    return fmt::format("{:08x}{:08x}", random(), random());
}

}  // namespace

RunCheckpoints::RunCheckpoints(Trainer& trainer)
    : trainer_(trainer), limit_(static_cast<std::int64_t>(1e3 * trainer.job().cluster.timeout_seconds)) {
    comms::Communicator& world = trainer.world();
    const Job& job = trainer.job();
    writer_ = std::make_unique<CheckpointWriter>(CheckpointWriter::Place{.folder = job.checkpoint.directory,
                                                                         .keep = job.checkpoint.keep,
                                                                         .rank = world.rank(),
                                                                         .ranks = world.size(),
                                                                         .run = text_of_first(world, random_name()),
                                                                         .timeout = limit_});
}

void RunCheckpoints::begin() {
    writer_->begin(trainer_.snapshot());
    last_step_ = trainer_.steps_done();
    is_told_ = false;
}

SavedCheckpoint RunCheckpoints::current() const {
    SavedCheckpoint saved;
    saved.step = writer_->step();
    saved.path = checkpoint_path(trainer_.job().checkpoint.directory, writer_->step()).string();
    return saved;
}

std::optional<SavedCheckpoint> RunCheckpoints::completed() {
    if (is_told_ || !writer_->is_running() || !writer_->is_committed()) return std::nullopt;
    is_told_ = true;
    SavedCheckpoint saved = current();
    saved.bytes = writer_->bytes();
    saved.seconds = writer_->seconds();
    return saved;
}

void RunCheckpoints::wait_for_all(const std::function<bool(std::chrono::milliseconds)>& is_done,
                                  const Waiting& waiting) {
    using std::chrono::milliseconds;
    constexpr milliseconds kLongest{100};  // so that nobody waits in a message for another's disk
    const auto begin = std::chrono::steady_clock::now();
    auto patience = std::min(milliseconds(10'000), limit_ / 2);
    for (milliseconds most{1}; largest_over_world(trainer_.world(), is_done(most) ? 0 : 1) > 0;
         most = std::min(2 * most, kLongest)) {
        const auto waited = std::chrono::steady_clock::now() - begin;
        if (waited < patience) continue;
        patience *= 2;
        if (waiting)
            waiting(fmt::format("waiting for the checkpoint of step {}, which has been written for {} s",
                                writer_->step(), std::chrono::duration_cast<std::chrono::seconds>(waited).count()));
    }
}

std::optional<SavedCheckpoint> RunCheckpoints::settle(const Waiting& waiting) {
    if (!writer_->is_running()) return std::nullopt;
    comms::Communicator& world = trainer_.world();
    SavedCheckpoint saved = current();
    const auto failure_of = [&](const std::optional<std::string>& own) {
        for (const std::string& failure : texts_of_all(world, own.value_or("")))
            if (!failure.empty()) return failure;
        return std::string();
    };
    const bool is_first = world.rank() == 0;
    wait_for_all([&](auto most) { return writer_->wait_written(most); }, waiting);
    saved.failure = failure_of(writer_->join());
    const bool all_written = saved.failure.empty();
    if (is_first) writer_->conclude(all_written);
    wait_for_all([&](auto most) { return !is_first || writer_->wait_ended(most); }, waiting);
    const auto commit = is_first ? writer_->commit(all_written) : std::nullopt;
    const bool is_complete = writer_->is_committed();  // and what follows may still go wrong; of rank 0
    if (is_complete) {
        saved.bytes = writer_->bytes();
        saved.seconds = writer_->seconds();
        saved.note = commit.value_or("");
    }
    if (const std::string failure = failure_of(is_complete ? std::nullopt : commit); saved.failure.empty())
        saved.failure = failure;
    const bool is_news = !is_told_ || !saved.failure.empty() || !saved.note.empty();
    is_told_ = true;
    return is_news ? std::optional(saved) : std::nullopt;
}

}  // namespace smp::runtime
