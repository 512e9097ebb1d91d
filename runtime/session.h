// A training from its first step to its last, with everything that comes between: the loop of smp_train, and of a
// program of one's own.
//
//     comms::prepare_cuda_queues();                            // first of all in main (comms/device/rank_device.h)
//     …
//     runtime::Trainer trainer(job, *world);
//     runtime::Recorders recorders;                            // of rank 0; on other ranks as a rule none
//     if (world->rank() == 0) recorders.push_back(std::make_unique<runtime::MetricsFile>("metrics.jsonl"));
//     runtime::Session(trainer, std::move(recorders)).run();   // collective
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/records/recorder.h"
#include "runtime/run_checkpoints.h"
#include "runtime/trainer.h"

namespace smp::runtime {

/// What somebody outside asks a running session for: after the step that is under way.
struct Request {
    enum class Kind { none, save, stop };
    Kind kind = Kind::none;
    int signal = 0;  // that has brought it; 0: none
};

struct SessionOptions {
    std::vector<std::string> notes = {};  // sentences for the recorders' start
    std::vector<std::string> warnings = {};
    std::vector<std::pair<std::string, std::string>> settings = {};  // rows beside the session's own
    /// Asked on every rank after each step; what any rank says counts on all. Empty: nobody asks.
    std::function<Request()> request = {};
};

class Session {
  public:
    /// `trainer` must outlive it.
    Session(Trainer& trainer, Recorders recorders, SessionOptions options = {});

    /// Trains from where the trainer is to training.steps, or to the step in which it is asked to stop: evaluates and
    /// draws text every training.evaluate_every steps and after the last one, traces logging.trace_steps, writes
    /// checkpoints every checkpoint.every steps, on request and at the end (where checkpoint.directory is not empty),
    /// tells the recorders. A validation loss that is not finite is a ConfigError. Collective over the trainer's world;
    /// throws what the trainer and the recorders throw, and CheckpointError at the end where the last checkpoint could
    /// not be written.
    void run();

    /// What it is about to do, in rows of name and value for a person: the recorders' start has them too.
    std::vector<std::pair<std::string, std::string>> settings() const;

  private:
    void start();
    void step();
    /// Tells the recorders what all ranks' tensors took in the last step. Collective.
    void measure_memory();
    std::vector<std::string> advice() const;
    Evaluation evaluation_of(const StepRecord& record);
    /// What is asked for now, anywhere.
    Request agreed_request();
    void save();
    /// Waits for a checkpoint that is being written; a sentence where it is not there.
    std::string settle();
    void tell(const std::optional<SavedCheckpoint>& saved);

    Trainer& trainer_;
    Recorders recorders_;
    SessionOptions options_;
    bool is_first_;  // whether this is rank 0
    std::optional<RunCheckpoints> checkpoints_;
    std::string failure_;  // of the last checkpoint
    // For advice; of rank 0.
    std::vector<int> hosts_;        // of each rank
    std::vector<double> seconds_;   // of the last steps
    std::optional<double> bubble_;  // of the last traced step
    std::int64_t device_peak_ = 0;  // of the largest rank
};

}  // namespace smp::runtime
