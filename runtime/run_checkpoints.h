// The checkpoints of one run: when they are written and that all ranks know how that went.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "runtime/checkpoint/checkpoint_writer.h"
#include "runtime/records/recorder.h"
#include "runtime/trainer.h"

namespace smp::runtime {

/// Everything is collective over the trainer's world.
class RunCheckpoints {
  public:
    /// As the trainer's job.checkpoint says, in its directory, which must not be empty. `trainer` must outlive it.
    explicit RunCheckpoints(Trainer& trainer);

    /// Begins to write the training as it is. With checkpoint.asynchronous training may go on at once.
    void begin();
    /// A save is still being written, and this rank waits for it: what a person may want to know.
    using Waiting = std::function<void(const std::string& sentence)>;
    /// Waits for what was begun, if anything was, and says how that went; on rank 0 not what completed() has said. A
    /// disk may take its time, whatever cluster.timeout_seconds is: `waiting` is told now and then. Bytes, seconds and
    /// the note are rank 0's.
    std::optional<SavedCheckpoint> settle(const Waiting& waiting = {});
    /// On rank 0, once for what was begun: that it is complete, as soon as it is. Local, does not wait.
    std::optional<SavedCheckpoint> completed();
    /// The newest step whose checkpoint is begun or complete, −1: none in this run.
    std::int64_t last_step() const { return last_step_; }

  private:
    SavedCheckpoint current() const;
    /// Until `is_done` on all ranks, each of which waits in it for at most so long.
    void wait_for_all(const std::function<bool(std::chrono::milliseconds most)>& is_done, const Waiting& waiting);

    Trainer& trainer_;
    const std::chrono::milliseconds limit_;  // of any other wait
    std::unique_ptr<CheckpointWriter> writer_;
    std::int64_t last_step_ = -1;
    bool is_told_ = false;  // of what was begun last: completed() has said it
};

}  // namespace smp::runtime
