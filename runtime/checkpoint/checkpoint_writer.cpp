#include "runtime/checkpoint/checkpoint_writer.h"

#include <exception>
#include <span>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {

namespace {

constexpr std::chrono::milliseconds kPollInterval{5};

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
    is_begun_ = true;
    gives_up_ = own_written_ = is_committed_ = false;
    own_failure_.reset();
    commit_failure_.reset();
    thread_ = std::thread([this] {
        try {
            write();
        } catch (const std::exception& error) {
            own_failure_ = error.what();
        }
        snapshot_.values = {};  // nobody needs the memory any more
        own_written_ = true;
        own_written_.notify_all();
        if (place_.rank != 0) return;
        try {
            if (!own_failure_) gather_and_commit();
        } catch (const std::exception& error) {
            commit_failure_ = error.what();
        }
        if (own_failure_ || commit_failure_) PartialCheckpoint(place_.folder, step_).remove();
    });
}

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
    const auto deadline = std::chrono::steady_clock::now() + place_.timeout;
    std::vector<PartFile>& files = snapshot_.manifest.files;
    while (!partial.collect(place_.ranks, place_.run, files)) {
        if (gives_up_) throw DataError("the checkpoint was given up");
        if (std::chrono::steady_clock::now() > deadline)
            throw DataError(fmt::format(
                "rank {}'s part of the checkpoint is not in \"{}\" after {} s; checkpoint.directory must be one folder "
                "for all nodes, and cluster.timeout_seconds long enough for writing",
                files.size(), partial.part(static_cast<int>(files.size())).parent_path().string(),
                std::chrono::duration_cast<std::chrono::seconds>(place_.timeout).count()));
        std::this_thread::sleep_for(kPollInterval);
    }
    partial.commit(snapshot_.manifest, place_.ranks);
    is_committed_ = true;
    remove_old_checkpoints(place_.folder, place_.keep);
}

std::optional<std::string> CheckpointWriter::join() {
    if (!is_begun_) return std::nullopt;
    own_written_.wait(false);
    if (place_.rank != 0) {
        thread_.join();
        is_begun_ = false;
    }
    return own_failure_;
}

std::optional<std::string> CheckpointWriter::commit(bool all_written) {
    if (!is_begun_) return std::nullopt;
    if (!all_written) gives_up_ = true;
    thread_.join();
    is_begun_ = false;
    return own_failure_ ? own_failure_ : commit_failure_;
}

}  // namespace smp::runtime
