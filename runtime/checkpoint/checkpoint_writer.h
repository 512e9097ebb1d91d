// Writes the checkpoints of a run beside its training: each rank its own file, rank 0 the manifest.
//
// The ranks of a save meet in the folder, not in a message: a rank announces its file there when it is on the disk, and
// rank 0 commits when all are announced. So training goes on, and no communicator is used by two threads.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/checkpoint/checkpoint_folder.h"
#include "runtime/checkpoint/part_writer.h"

namespace smp::runtime {

/// What a rank has of a training at one moment, copied to host memory.
struct Snapshot {
    Manifest manifest;  // without files
    std::vector<Piece> pieces;
    std::vector<float> values;  // of the pieces, one behind the other
};

class CheckpointWriter {
  public:
    struct Place {
        std::filesystem::path folder;
        std::int64_t keep = 1;
        int rank = 0, ranks = 1;
        std::string run;                    // the same on all ranks, and another in every run
        std::chrono::milliseconds timeout;  // for files that are written to come in sight of rank 0
    };

    explicit CheckpointWriter(Place place);
    /// Waits for this rank's file. What is not whole then is given up.
    ~CheckpointWriter();

    /// Starts writing `snapshot`; a save before it must have been finished. Local.
    void begin(Snapshot snapshot);

    /// Waits until this rank's file is on the disk, or could not be written; how that went, join() says. At most so
    /// long: whether it is. Local, as all that follows.
    bool wait_written(std::chrono::milliseconds most);
    /// Waits until this rank's file is on the disk. A sentence where it could not be written.
    std::optional<std::string> join();

    /// Of rank 0, after join() on all ranks: says whether all files are written, without which the save is given up.
    void conclude(bool all_written);
    /// Of rank 0, after conclude(): waits for the commit. At most so long: whether it has ended.
    bool wait_ended(std::chrono::milliseconds most);
    /// Of rank 0: concludes, and waits for the commit. A sentence where the checkpoint is not there, and, with
    /// is_committed(), where older ones could not be removed.
    std::optional<std::string> commit(bool all_written);

    bool is_running() const { return is_begun_; }
    /// Of rank 0: whether what was begun is complete by now. Does not wait.
    bool is_committed() const { return is_committed_; }
    std::int64_t step() const { return step_; }
    /// Of what is_committed(): of all ranks' files, and from begin() until it had its name.
    std::uint64_t bytes() const { return bytes_; }
    double seconds() const { return seconds_; }

  private:
    /// How far the thread has come.
    enum class Progress { begun, written, ended };

    void run();
    void write();
    void gather_and_commit();
    void reach(Progress progress);
    bool wait_for(Progress progress, std::chrono::milliseconds most);

    const Place place_;
    Snapshot snapshot_;
    std::int64_t step_ = 0;
    std::chrono::steady_clock::time_point begun_;
    std::uint64_t bytes_ = 0;  // as seconds_, written before is_committed_
    double seconds_ = 0;
    bool is_begun_ = false;
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable changed_;
    Progress progress_ = Progress::begun;  // under the mutex
    std::atomic<bool> gives_up_ = false;
    std::atomic<bool> all_written_ = false;  // by what conclude() was told
    std::atomic<bool> is_committed_ = false;
    std::optional<std::string> own_failure_, commit_failure_;
};

}  // namespace smp::runtime
