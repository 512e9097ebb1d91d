#include "runtime/checkpoint/checkpoint_writer.h"

#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {

namespace {

constexpr std::chrono::milliseconds kPollInterval{5};
constexpr int kNicer = 12;  // a weight of 70 beside 1024

}  // namespace

CheckpointWriter::CheckpointWriter(Place place) : place_(std::move(place)) {}

CheckpointWriter::~CheckpointWriter() {
    gives_up_ = true;
    if (thread_.joinable()) thread_.join();
}

void CheckpointWriter::begin(Snapshot snapshot) {
    if (is_begun_) throw std::logic_error("CheckpointWriter: a save is begun before the one before it is finished");
    snapshot_ = std::move(snapshot);
    step_ = snapshot_.manifest.state.steps;
    begun_ = std::chrono::steady_clock::now();
    is_begun_ = true;
    gives_up_ = all_written_ = is_committed_ = false;
    progress_ = Progress::begun;
    own_failure_.reset();
    commit_failure_.reset();
    thread_ = std::thread([this] { run(); });
}

void CheckpointWriter::run() {
    // Training beside it loses a fifteenth of a processor at most; while nobody computes, this thread has all of it.
    // The nice value is a thread's own on Linux. Raising it is never refused.
    (void)::nice(kNicer);
    try {
        write();
    } catch (const std::exception& error) {
        own_failure_ = error.what();
    }
    snapshot_.values = {};  // nobody needs the memory any more
    reach(Progress::written);
    if (place_.rank == 0) {
        try {
            if (!own_failure_) gather_and_commit();
        } catch (const std::exception& error) {
            commit_failure_ = error.what();
        }
        if (own_failure_ || commit_failure_) PartialCheckpoint(place_.folder, step_).remove();
    }
    reach(Progress::ended);
}

void CheckpointWriter::reach(Progress progress) {
    const std::lock_guard lock(mutex_);
    progress_ = progress;
    changed_.notify_all();
}

bool CheckpointWriter::wait_for(Progress progress, std::chrono::milliseconds most) {
    if (!is_begun_) return true;
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, most, [&] { return progress_ >= progress; });
}

bool CheckpointWriter::wait_written(std::chrono::milliseconds most) { return wait_for(Progress::written, most); }
bool CheckpointWriter::wait_ended(std::chrono::milliseconds most) { return wait_for(Progress::ended, most); }

void CheckpointWriter::write() {
    const PartialCheckpoint partial(place_.folder, step_);
    partial.create();
    std::vector<PieceSource> pieces;
    std::span<const float> left = snapshot_.values;
    for (Piece& piece : snapshot_.pieces) {
        const auto values = left.first(static_cast<std::size_t>(elements_of(piece)));
        left = left.subspan(values.size());
        pieces.push_back(
            {.piece = std::move(piece), .values = [values](const TakeBytes& take) { take(std::as_bytes(values)); }});
    }
    partial.announce(write_part(partial.part(place_.rank), std::move(pieces), snapshot_.manifest.tensors), place_.rank,
                     place_.run);
}

void CheckpointWriter::gather_and_commit() {
    const PartialCheckpoint partial(place_.folder, step_);
    std::vector<PartFile>& files = snapshot_.manifest.files;
    std::optional<std::chrono::steady_clock::time_point> deadline;  // how long writing may take, nobody can say
    while (!partial.collect(place_.ranks, place_.run, files)) {
        if (gives_up_) throw DataError("the checkpoint was given up");
        const auto now = std::chrono::steady_clock::now();
        if (all_written_ && !deadline) deadline = now + place_.timeout;
        if (deadline && now > *deadline)
            throw DataError(fmt::format(
                "rank {}'s part of the checkpoint was written, and is not in \"{}\" after {} s; checkpoint.directory "
                "must be one folder for all nodes",
                files.size(), partial.part(static_cast<int>(files.size())).parent_path().string(),
                std::chrono::duration_cast<std::chrono::seconds>(place_.timeout).count()));
        std::this_thread::sleep_for(kPollInterval);
    }
    partial.commit(snapshot_.manifest, place_.ranks);
    bytes_ = 0;
    for (const PartFile& file : files) bytes_ += file.bytes;
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
    is_committed_ = true;
    remove_old_checkpoints(place_.folder, place_.keep);
}

std::optional<std::string> CheckpointWriter::join() {
    if (!is_begun_) return std::nullopt;
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return progress_ >= Progress::written; });
    }
    if (place_.rank != 0) {
        thread_.join();
        is_begun_ = false;
    }
    return own_failure_;
}

void CheckpointWriter::conclude(bool all_written) { (all_written ? all_written_ : gives_up_) = true; }

std::optional<std::string> CheckpointWriter::commit(bool all_written) {
    if (!is_begun_) return std::nullopt;
    conclude(all_written);
    thread_.join();
    is_begun_ = false;
    return own_failure_ ? own_failure_ : commit_failure_;
}

}  // namespace smp::runtime
