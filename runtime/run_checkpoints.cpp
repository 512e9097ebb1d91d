#include "runtime/run_checkpoints.h"

#include <chrono>
#include <random>

#include <fmt/format.h>

#include "runtime/execution/agreement.h"

namespace smp::runtime {

namespace {

std::string random_name() {
    std::random_device random;
    return fmt::format("{:08x}{:08x}", random(), random());
}

}  // namespace

RunCheckpoints::RunCheckpoints(Trainer& trainer) : trainer_(trainer) {
    comms::Communicator& world = trainer.world();
    const Job& job = trainer.job();
    writer_ = std::make_unique<CheckpointWriter>(CheckpointWriter::Place{
        .folder = job.checkpoint.directory,
        .keep = job.checkpoint.keep,
        .rank = world.rank(),
        .ranks = world.size(),
        .run = text_of_first(world, random_name()),
        .timeout = std::chrono::milliseconds(static_cast<std::int64_t>(1e3 * job.cluster.timeout_seconds))});
}

void RunCheckpoints::begin() {
    writer_->begin(trainer_.snapshot());
    last_step_ = trainer_.steps_done();
    is_told_ = false;
}

RunCheckpoints::Saved RunCheckpoints::current() const {
    return {.step = writer_->step(),
            .path = checkpoint_path(trainer_.job().checkpoint.directory, writer_->step()).string(),
            .failure = "",
            .note = ""};
}

std::optional<RunCheckpoints::Saved> RunCheckpoints::completed() {
    if (is_told_ || !writer_->is_running() || !writer_->is_committed()) return std::nullopt;
    is_told_ = true;
    return current();
}

std::optional<RunCheckpoints::Saved> RunCheckpoints::settle() {
    if (!writer_->is_running()) return std::nullopt;
    comms::Communicator& world = trainer_.world();
    Saved saved = current();
    const auto failure_of = [&](const std::optional<std::string>& own) {
        for (const std::string& failure : texts_of_all(world, own.value_or("")))
            if (!failure.empty()) return failure;
        return std::string();
    };
    saved.failure = failure_of(writer_->join());
    const auto commit = world.rank() == 0 ? writer_->commit(saved.failure.empty()) : std::nullopt;
    const bool is_complete = writer_->is_committed();  // and what follows may still go wrong; of rank 0
    if (is_complete) saved.note = commit.value_or("");
    if (const std::string failure = failure_of(is_complete ? std::nullopt : commit); saved.failure.empty())
        saved.failure = failure;
    const bool is_news = !is_told_ || !saved.failure.empty() || !saved.note.empty();
    is_told_ = true;
    return is_news ? std::optional(saved) : std::nullopt;
}

}  // namespace smp::runtime
