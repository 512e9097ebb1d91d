// A training from its first step to its last, with everything that comes between: the loop of smp_train, and of a
// program of one's own.
//
//     runtime::Trainer trainer(job, *world);
//     runtime::Recorders recorders;                            // of rank 0; on other ranks as a rule none
//     if (world->rank() == 0) recorders.push_back(std::make_unique<runtime::MetricsFile>("metrics.jsonl"));
//     runtime::Session(trainer, std::move(recorders)).run();   // collective
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/records/recorder.h"
#include "runtime/trainer.h"

namespace smp::runtime {

class Session {
  public:
    /// `trainer` must outlive it. `notes`: sentences for the recorders' start.
    Session(Trainer& trainer, Recorders recorders, std::vector<std::string> notes = {});

    /// Trains from where the trainer is to training.steps: evaluates and draws text every training.evaluate_every
    /// steps and after the last one, traces logging.trace_steps, tells the recorders. Collective over the trainer's
    /// world; throws what the trainer and the recorders throw.
    void run();

    /// What it is about to do, in rows of name and value for a person: the recorders' start has them too.
    std::vector<std::pair<std::string, std::string>> settings() const;

  private:
    void start();
    void step();
    Evaluation evaluation_of(const StepRecord& record);

    Trainer& trainer_;
    Recorders recorders_;
    std::vector<std::string> notes_;
    bool is_first_;  // whether this is rank 0
};

}  // namespace smp::runtime
